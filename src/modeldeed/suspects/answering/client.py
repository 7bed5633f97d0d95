"""Sending requests to an endpoint: repeated where that may help, bounded in time and size.

No library for retries: tenacity and httpx-retries were looked at. What is needed fits on this
page, and theirs lacks a clock of the caller's, a count of what was sent, or a bound on a response
that comes drop by drop.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldeed.errors import MissingExtraError, OptionError, SuspectError
from modeldeed.suspects.answering.bodies import Body
from modeldeed.suspects.answering.endpoint import Endpoint
from modeldeed.suspects.answering.secret import Secret
from modeldeed.suspects.answering.urls import without_query
from modeldeed.suspects.answering.waiting import Clock, Pace, backoff, retry_after

if TYPE_CHECKING:
    import httpx

__all__ = ["Client", "Reply"]

_TIMEOUT, _TOO_MANY = 408, 429
_MENDING = {
    401: "it wants other credentials; see auth in the endpoint's configuration",
    403: "these credentials are not allowed to ask; see auth in the endpoint's configuration",
    404: "nothing is there; check url in the endpoint's configuration",
    405: "it takes no POST; check url in the endpoint's configuration",
    407: "the proxy wants credentials, which are not supported; use another proxy",
}


@dataclass(frozen=True)
class Reply:
    """A response that was read whole.

    Attributes:
        status: its HTTP status.
        data: its body.
        wait: what ``Retry-After`` asks for, in seconds.
    """

    status: int
    data: bytes
    wait: float | None = None


class _BrokenError(Exception):
    """A request that got no response; another one may."""


class Client:
    """Sends bodies to one endpoint.

    Args:
        endpoint: its configuration.
        secret: for its auth header; None without one.
        folder: what relative paths of the configuration start from.
        transport: replaces the network, for tests.
        clock: time and waiting.

    Raises:
        MissingExtraError: httpx is not installed.
        OptionError: the file of certificates cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        secret: Secret | None = None,
        folder: Path = Path(),
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._httpx = _httpx()
        self._endpoint = endpoint
        self._clock = clock or Clock()
        self._pace = Pace(endpoint.requests_per_second, self._clock)
        self._line: Any = None  # the network stream of the connection in use
        self.label = without_query(endpoint.url)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        headers.update(endpoint.headers)
        if endpoint.auth is not None and secret is not None:
            headers[endpoint.auth.header] = endpoint.auth.value(secret)
        self._client = self._httpx.Client(
            headers=headers,
            timeout=endpoint.timeout_seconds,
            verify=_trusted(endpoint, folder),
            proxy=endpoint.proxy if transport is None else None,
            transport=transport,
            trust_env=False,  # neither proxies nor .netrc of the surroundings
            follow_redirects=False,  # the secret goes to the configured address and no other
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(self, body: Body, sent: Callable[[], None]) -> Reply:
        """Send a body until there is a response that counts.

        Args:
            body: the request.
            sent: called before each time that it goes out.

        Returns:
            A response of status 2xx, or a 4xx that concerns the samples.

        Raises:
            SuspectError: there is none after all attempts, the endpoint refuses this client or
                leads elsewhere, or a response is too long.
        """
        retries = self._endpoint.retries
        for failures in range(1, retries.attempts + 1):
            self._pace.wait()
            sent()
            wait, why = None, ""
            try:
                reply = self._once(body)
                if not _is_passing(reply.status):
                    return self._checked(reply)
                wait, why = reply.wait, f"status {reply.status}"
            except _BrokenError as error:
                why = str(error)
            if failures < retries.attempts:
                self._clock.sleep(backoff(retries, failures, wait, self._clock))
        raise SuspectError(
            f"{self.label} gave no answer in {retries.attempts} attempts, at last: {why}; check "
            "that it runs, or set retries and requests_per_second in its configuration"
        )

    def _checked(self, reply: Reply) -> Reply:
        if 200 <= reply.status < 300 or (reply.status >= 400 and reply.status not in _MENDING):
            return reply
        mending = _MENDING.get(reply.status, "put the address where it leads into url")
        raise SuspectError(f"{self.label} answers with status {reply.status}: {mending}")

    def _once(self, body: Body) -> Reply:
        httpx = self._httpx
        # Every byte restarts the connection's own timeout, those of headers too.
        watch = threading.Timer(self._endpoint.timeout_seconds, self._cut)
        watch.daemon = True
        watch.start()
        try:
            arguments = {**_arguments(body), "extensions": {"trace": self._note_line}}
            with self._client.stream("POST", self._endpoint.url, **arguments) as response:
                status = response.status_code
                wait = retry_after(response.headers.get("Retry-After"), self._clock)
                if _is_passing(status):
                    return Reply(status, b"", wait)
                return Reply(status, self._read(response), wait)
        except httpx.TransportError as error:
            if _is_distrust(error):
                raise SuspectError(
                    f"{self.label}: its certificate is not trusted; name the certificates of its "
                    "authority with tls.ca_file"
                ) from None
            raise _BrokenError(type(error).__name__) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SuspectError(f"{self.label} cannot be asked: {type(error).__name__}") from None
        finally:
            watch.cancel()

    def _note_line(self, event: str, facts: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._line = facts["return_value"]

    def _cut(self) -> None:
        """End a request that took too long: whoever waits for a byte gets none."""
        line = self._line
        with contextlib.suppress(OSError):
            if line is not None:
                line.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _read(self, response: httpx.Response) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            raise SuspectError(
                f"{self.label} sends compressed responses though none were asked for; a small one "
                "could unpack to any size"
            )
        most, parts, size = self._endpoint.most_response_bytes, [], 0
        deadline = self._clock.monotonic() + self._endpoint.timeout_seconds
        for part in response.iter_bytes():
            size += len(part)
            if size > most:
                raise SuspectError(
                    f"{self.label} sends a response of more than {most} bytes; see "
                    "most_response_bytes in its configuration"
                )
            # Every drop restarts the connection's own timeout.
            if self._clock.monotonic() > deadline:
                raise _BrokenError("a response that came too slowly")
            parts.append(part)
        return b"".join(parts)


def _is_passing(status: int) -> bool:
    """Whether a request with this response is worth repeating."""
    return status in (_TIMEOUT, _TOO_MANY) or status >= 500


def _arguments(body: Body) -> dict[str, Any]:
    if body.content is not None:
        return {"content": body.content, "headers": {"Content-Type": "application/json"}}
    if body.file is None:
        return {"data": body.fields or {}}
    field, name, data, media_type = body.file
    return {"data": body.fields or {}, "files": {field: (name, data, media_type)}}


def _is_distrust(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _trusted(endpoint: Endpoint, folder: Path) -> ssl.SSLContext | bool:
    if endpoint.tls.ca_file is None:
        return True
    path = folder / endpoint.tls.ca_file
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise OptionError(f"tls.ca_file {path} holds no usable certificates: {error}") from error


def _httpx() -> Any:
    try:
        import httpx  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("httpx", "http") from error
    return httpx
