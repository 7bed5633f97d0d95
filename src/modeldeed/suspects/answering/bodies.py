"""Bodies of requests: canonical samples in the form that an endpoint takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from torch import Tensor

from modeldeed.errors import OptionError
from modeldeed.suspects.answering.batches import kind_of
from modeldeed.suspects.answering.endpoint_formats import (
    JsonRequest,
    KServeRequest,
    MultipartRequest,
)
from modeldeed.suspects.answering.media import png, wav
from modeldeed.suspects.answering.preparation import Inputs, Preparation

__all__ = ["Body", "body_of"]

_MEDIA = {"png": ("image.png", "image/png"), "wav": ("audio.wav", "audio/wav")}


@dataclass(frozen=True)
class Body:
    """What goes over the line.

    Attributes:
        content: a JSON document; None for a form.
        fields: texts of a form.
        file: field, file name, content and media type of a form's file; None without one.
    """

    content: bytes | None = None
    fields: dict[str, str] | None = None
    file: tuple[str, str, bytes, str] | None = None


def body_of(
    request: KServeRequest | JsonRequest | MultipartRequest,
    preparation: Preparation,
    group: Tensor,
) -> Body:
    """Write a group of samples in an endpoint's form.

    Args:
        request: the form.
        preparation: how samples become numbers; files hold the canonical ones.
        group: canonical samples; one only, unless the form takes several.

    Raises:
        OptionError: the form does not fit this kind of samples.
    """
    if len(group) > 1 and not request.takes_many:
        raise OptionError(f"this form of request holds one sample, got {len(group)}")
    if isinstance(request, KServeRequest):
        return Body(_json(_kserve(request, preparation, group)))
    if isinstance(request, JsonRequest):
        return Body(_json(_filled(request.template, _placeholders(request, preparation, group))))
    name, media_type = _MEDIA[request.media]
    data = png(group[0]) if request.media == "png" else wav(group[0], request.sample_rate)
    return Body(fields=dict(request.form), file=(request.field, name, data, media_type))


def _json(value: JsonValue) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _kserve(request: KServeRequest, preparation: Preparation, group: Tensor) -> JsonValue:
    kind = kind_of(group)
    fits = {"UINT8": ("images",), "INT64": ("tokens",), "FP32": ("images", "points", "audio")}
    if kind not in fits[request.datatype]:
        raise OptionError(
            f"datatype {request.datatype} is for {', '.join(fits[request.datatype])}, and these "
            f"samples are {kind}; set request.datatype"
        )
    if request.datatype == "UINT8":
        tensor: Inputs = preparation.laid_out(group)
    else:
        tensor = preparation(group)
    if isinstance(tensor, dict):
        ids, mask = tensor["input_ids"], tensor["attention_mask"]
    else:
        ids, mask = tensor, tensor.new_ones(tensor.shape)
    tensors = [_kserve_tensor(request.input, request.datatype, ids)]
    if request.mask is not None:
        tensors.append(_kserve_tensor(request.mask, "INT64", mask.long()))
    return {"inputs": tensors}


def _kserve_tensor(name: str, datatype: str, tensor: Tensor) -> JsonValue:
    return {
        "name": name,
        "shape": list(tensor.shape),
        "datatype": datatype,
        "data": tensor.flatten().tolist(),
    }


def _placeholders(
    request: JsonRequest, preparation: Preparation, group: Tensor
) -> dict[str, Callable[[], Any]]:
    def numbers() -> Any:
        if request.values == "integers":
            images = kind_of(group) == "images"
            return (preparation.laid_out(group) if images else group).tolist()
        inputs = preparation(group)
        return (inputs["input_ids"] if isinstance(inputs, dict) else inputs).tolist()

    def images() -> list[str]:
        return [base64.b64encode(png(image)).decode() for image in group]

    def recordings() -> list[str]:
        return [base64.b64encode(wav(one, request.sample_rate)).decode() for one in group]

    return {
        "$inputs": numbers,
        "$images_base64": images,
        "$audios_base64": recordings,
        "$input": lambda: numbers()[0],
        "$image_base64": lambda: images()[0],
        "$audio_base64": lambda: recordings()[0],
    }


def _filled(template: Any, values: dict[str, Callable[[], Any]]) -> Any:
    if isinstance(template, str):
        return values[template]() if template in values else template
    if isinstance(template, dict):
        return {name: _filled(item, values) for name, item in template.items()}
    if isinstance(template, list):
        return [_filled(item, values) for item in template]
    return template
