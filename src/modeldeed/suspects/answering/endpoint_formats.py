"""The forms of requests and responses that an endpoint's configuration can name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from modeldeed.suspects.answering.secret import looks_secret

__all__ = ["JsonRequest", "KServeRequest", "MultipartRequest", "ResponseFormat"]

_Name = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]
_Text = Annotated[str, Field(max_length=2_000, pattern=r"^[\x20-\x7e]*$")]

ONE = ("$input", "$image_base64", "$audio_base64")
MANY = ("$inputs", "$images_base64", "$audios_base64")


class _Format(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def description(self) -> dict[str, JsonValue]:
        """The fields, for the endpoint's identity."""
        return self.model_dump(mode="json")


class KServeRequest(_Format):
    """The Open Inference Protocol (KServe v2, Triton) with a JSON body.

    Attributes:
        input: name of the input tensor.
        datatype: FP32 for prepared numbers, UINT8 for the pixels themselves, INT64 for tokens.
        mask: name of a second tensor, an attention mask of ones; None without one.
    """

    format: Literal["kserve-v2"]
    input: _Name
    datatype: Literal["FP32", "UINT8", "INT64"] = "FP32"
    mask: _Name | None = None

    @property
    def takes_many(self) -> bool:
        """Whether a request can hold several samples."""
        return True


def _checked_template(template: JsonValue) -> JsonValue:
    texts = [text for _, text in _texts(template, "")]
    unknown = [text for text in texts if text.startswith("$") and text not in (*ONE, *MANY)]
    if unknown:
        raise ValueError(f"unknown placeholder; known are {', '.join((*ONE, *MANY))}")
    used = {text for text in texts if text.startswith("$")}
    if not used:
        raise ValueError(f"the template needs a placeholder: {', '.join((*ONE, *MANY))}")
    if used & set(ONE) and used & set(MANY):
        raise ValueError("placeholders of one sample and of several do not go together")
    for name, text in _texts(template, ""):
        if looks_secret(name) and not text.startswith("$"):
            raise ValueError(
                f"the template's field {name} looks like a secret; send it as a header, with auth"
            )
    return template


def _texts(value: JsonValue, name: str) -> Iterator[tuple[str, str]]:
    """All texts of a template with the name of the field that holds them."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)


class JsonRequest(_Format):
    """A JSON body of any form.

    Attributes:
        template: the body; texts that are a placeholder are replaced. ``$input``: nested lists of
            the one sample; ``$inputs``: of all samples; ``$image_base64``, ``$audio_base64``: a
            PNG or WAV file in base64; ``$images_base64``, ``$audios_base64``: a list of them.
        values: ``"prepared"`` numbers, or the canonical ``"integers"`` themselves.
        sample_rate: of WAV files, in hertz.
    """

    format: Literal["json"]
    template: Annotated[JsonValue, AfterValidator(_checked_template)]
    values: Literal["prepared", "integers"] = "prepared"
    sample_rate: Annotated[int, Field(ge=1, le=10**6)] = 16_000

    @property
    def takes_many(self) -> bool:
        """Whether a request can hold several samples."""
        return any(text in MANY for _, text in _texts(self.template, ""))

    def description(self) -> dict[str, JsonValue]:
        """The fields; the template as text, since it may hold decimal numbers."""
        template = json.dumps(self.template, sort_keys=True, ensure_ascii=True)
        return {**super().description(), "template": template}


def _checked_form(form: dict[str, str]) -> dict[str, str]:
    for name in form:
        if looks_secret(name):
            raise ValueError(f"the field {name} looks like a secret; send it as a header with auth")
    return form


class MultipartRequest(_Format):
    """A form with one file: a PNG image or a WAV recording.

    Attributes:
        field: name of the file's field.
        media: ``"png"`` or ``"wav"``.
        form: more fields of the form.
        sample_rate: of WAV files, in hertz.
    """

    format: Literal["multipart"]
    field: _Name = "file"
    media: Literal["png", "wav"] = "png"
    form: Annotated[dict[_Name, _Text], AfterValidator(_checked_form)] = {}
    sample_rate: Annotated[int, Field(ge=1, le=10**6)] = 16_000

    @property
    def takes_many(self) -> bool:
        """Whether a request can hold several samples."""
        return False


def _checked_path(path: str) -> str:
    parts = path.split(".") if path else []
    if any(not part for part in parts) or parts.count("*") > 1:
        raise ValueError(
            "a path is names and numbers joined by points, with at most one * for the samples, "
            "for example outputs.0.data or predictions.*.label"
        )
    return path


class ResponseFormat(_Format):
    """Where the answers stand in a JSON response.

    Attributes:
        path: names and numbers joined by points; ``*`` goes through a list, one entry a sample.
            Empty for the whole response.
        kind: ``"probabilities"``: scores of all classes, any scale; ``"labels"``: numbers of
            classes; ``"names"``: their names.
        names: number of each name; None takes the classes that the caller gives.
    """

    path: Annotated[
        str, Field(max_length=500, pattern=r"^[\x20-\x7e]*$"), AfterValidator(_checked_path)
    ]
    kind: Literal["probabilities", "labels", "names"]
    names: dict[Annotated[str, Field(max_length=200)], Annotated[int, Field(ge=0)]] | None = None
