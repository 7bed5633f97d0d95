"""The configuration of an HTTP endpoint, format ``modeldeed-endpoint/v1``.

It says where and how to ask, and never holds a secret: only where one is to be found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from modeldeed.errors import OptionError
from modeldeed.suspects.answering.endpoint_formats import (
    JsonRequest,
    KServeRequest,
    MultipartRequest,
    ResponseFormat,
)
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.suspects.answering.secret import Secret, looks_secret
from modeldeed.suspects.answering.urls import checked_proxy, checked_url, is_private_line

__all__ = ["Auth", "Endpoint", "Retries", "Tls"]

_Token = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$")]
_Value = Annotated[str, Field(max_length=2_000, pattern=r"^[\x20-\x7e]*$")]
_Seconds = Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)]

# Set by the client itself; a second one would contradict it.
_OWN_HEADERS = {"host", "content-length", "content-type", "transfer-encoding", "accept-encoding"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Auth(_Part):
    """A header whose secret lies elsewhere.

    Attributes:
        header: name of the header.
        scheme: word before the secret; empty for the secret alone.
        environment: environment variable that holds the secret.
        file: file that holds it, relative to the endpoint's file. Exactly one of the two.
        allow_plain_http: send it over an unencrypted connection to another machine.
    """

    header: _Token = "Authorization"
    scheme: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{0,40}$")] = "Bearer"
    environment: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,200}$")] | None = None
    file: Annotated[str, Field(min_length=1, max_length=4_000)] | None = None
    allow_plain_http: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Auth:
        if (self.environment is None) == (self.file is None):
            raise ValueError("name the secret's place by one of environment and file")
        return self

    def secret(self, folder: Path) -> Secret:
        """Read the secret.

        Raises:
            OptionError: it is missing or unusable.
        """
        if self.environment is not None:
            return Secret.from_environment(self.environment)
        return Secret.from_file(folder / str(self.file))

    def value(self, secret: Secret) -> str:
        """What the header holds."""
        return f"{self.scheme} {secret.reveal()}".lstrip()


class Retries(_Part):
    """How often and how patiently a request is repeated.

    Attributes:
        attempts: the most requests for the same samples.
        first_wait: upper end of the first random wait, in seconds; it doubles each time.
        longest_wait: no wait is longer, whatever ``Retry-After`` says.
    """

    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    first_wait: _Seconds = 0.5
    longest_wait: _Seconds = 60.0


class Tls(_Part):
    """Whom an encrypted connection trusts; verification cannot be turned off.

    Attributes:
        ca_file: certificates (PEM) to trust in place of the usual ones, relative to the
            endpoint's file.
    """

    ca_file: Annotated[str, Field(min_length=1, max_length=4_000)] | None = None


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if looks_secret(name):
            raise ValueError(
                f"the header {name} would hold a secret in the file; remove it and name the "
                f"secret's place: auth: {{header: {name}, environment: VARIABLE}} or file: PATH"
            )
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"the header {name} is set by the client; remove it")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header stands twice")
    return headers


class Endpoint(_Part):
    """Where and how to ask a model behind HTTP.

    Build it from fields with `from_fields`, or from a file with `load_endpoint`.

    Attributes:
        format: ``"modeldeed-endpoint/v1"``.
        url: where requests go (POST); http or https, without a user, a password or a fragment.
        model: what the caller calls the model; part of the endpoint's identity.
        request: the form of requests.
        response: where the answers stand in a response, and what they are.
        preparation: how canonical samples become the numbers of a request.
        samples_per_request: the most samples of one request.
        headers: more headers; none that holds a secret.
        auth: the header with a secret, and where that is found.
        timeout_seconds: for one request as a whole.
        retries: repetition after 408, 429, 5xx and broken connections.
        requests_per_second: upper bound, repetitions included; None for no bound.
        proxy: an HTTP proxy; the environment's is not used.
        tls: whom to trust.
        most_response_bytes: a longer response is refused.
    """

    format: Literal["modeldeed-endpoint/v1"] = "modeldeed-endpoint/v1"
    url: Annotated[str, Field(max_length=2_000), AfterValidator(checked_url)]
    model: Annotated[str, Field(max_length=200, pattern=r"^[\x20-\x7e]*$")] = ""
    request: Annotated[
        KServeRequest | JsonRequest | MultipartRequest, Field(discriminator="format")
    ]
    response: ResponseFormat
    preparation: Preparation = Preparation()
    samples_per_request: Annotated[int, Field(ge=1, le=4_096)] = 1
    headers: Annotated[dict[_Token, _Value], AfterValidator(_checked_headers)] = {}
    auth: Auth | None = None
    timeout_seconds: _Seconds = 30.0
    retries: Retries = Retries()
    requests_per_second: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    proxy: Annotated[str, AfterValidator(checked_proxy)] | None = None
    tls: Tls = Tls()
    most_response_bytes: Annotated[int, Field(ge=1, le=2**30)] = 16 * 2**20

    @model_validator(mode="after")
    def _consistent(self) -> Endpoint:
        if self.samples_per_request > 1 and not self.request.takes_many:
            raise ValueError(
                "this form of request holds one sample; set samples_per_request to 1, or use "
                "$inputs or $images_base64"
            )
        if self.auth is None:
            return self
        if not (self.auth.allow_plain_http or is_private_line(self.url)):
            raise ValueError(
                "the secret would travel unencrypted; use an https URL, or set "
                "auth.allow_plain_http where the network itself is trusted"
            )
        if self.auth.header.lower() in {name.lower() for name in self.headers} | _OWN_HEADERS:
            raise ValueError(f"the header {self.auth.header} is set twice")
        return self

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], source: str = "the endpoint") -> Endpoint:
        """Check the fields of a configuration.

        Args:
            fields: as in the file.
            source: where they come from, for the error.

        Raises:
            OptionError: a field is missing, unknown or out of range. Its value is not shown.

        Example:
            >>> endpoint = Endpoint.from_fields({
            ...     "url": "https://models.example/v2/models/m/infer",
            ...     "request": {"format": "kserve-v2", "input": "x"},
            ...     "response": {"path": "outputs.0.data", "kind": "probabilities"},
            ... })
            >>> endpoint.samples_per_request
            1
        """
        try:
            # Through JSON: there lists stand for tuples, and nothing else is taken for another.
            return cls.model_validate_json(json.dumps(dict(fields), allow_nan=False))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "its top"
            raise OptionError(f"{source} is malformed at {where}: {first['msg']}") from None
        except (TypeError, ValueError, RecursionError) as error:
            kind = type(error).__name__
            raise OptionError(f"{source} holds more than plain JSON values ({kind})") from None

    def description(self) -> dict[str, JsonValue]:
        """What is asked and how: everything that could change an answer.

        Neither the secret nor where it lies, no timeouts, rates, proxies or trusted certificates.
        """
        return {
            "kind": "endpoint",
            "url": self.url,
            "model": self.model,
            "request": self.request.description(),
            "response": self.response.description(),
            "preparation": self.preparation.description(),
        }
