"""Bodies: prepared numbers, placeholders, PNG and WAV files that others read."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modeldeed.errors import OptionError
from modeldeed.suspects.answering import Preparation
from modeldeed.suspects.answering.bodies import body_of
from modeldeed.suspects.answering.endpoint_formats import (
    JsonRequest,
    KServeRequest,
    MultipartRequest,
)
from modeldeed.suspects.answering.media import png, wav
from tests.suspects.answering.models import images

AUDIO = torch.tensor([[0, 1, -32768, 32767], [5, 6, 7, 8]], dtype=torch.int16)
TOKENS = torch.tensor([[5, 6], [7, 8]])
POINTS = torch.arange(12, dtype=torch.int16).reshape(1, 4, 3)


def json_of(request: Any, batch: torch.Tensor, preparation: Preparation | None = None) -> Any:
    return json.loads(body_of(request, preparation or Preparation(), batch).content)


def template(value: Any, **more: Any) -> JsonRequest:
    return JsonRequest(format="json", template=value, **more)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_png_holds_the_very_pixels(channels: int, mode: str) -> None:
    random = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (channels, 5, 7), generator=random, dtype=torch.uint8)
    with Image.open(io.BytesIO(png(image))) as opened:
        opened.load()
        found = np.array(opened)
    assert opened.mode == mode
    expected = image.permute(1, 2, 0).numpy()
    assert np.array_equal(found.reshape(expected.shape), expected)


def test_a_wav_holds_the_very_samples() -> None:
    with wave.open(io.BytesIO(wav(AUDIO[0], 8_000))) as opened:
        assert opened.getparams()[:4] == (1, 2, 8_000, 4)
        assert np.frombuffer(opened.readframes(4), "<i2").tolist() == AUDIO[0].tolist()


def test_files_refuse_what_they_cannot_hold() -> None:
    with pytest.raises(OptionError, match="1, 3 or 4 channels"):
        png(torch.zeros(2, 4, 4, dtype=torch.uint8))
    with pytest.raises(OptionError, match="int16 audio"):
        wav(TOKENS[0], 8_000)


def test_kserve_tensors() -> None:
    batch = images(2)
    prepared = json_of(KServeRequest(format="kserve-v2", input="x"), batch)["inputs"][0]
    assert (prepared["name"], prepared["datatype"], prepared["shape"]) == (
        "x",
        "FP32",
        [2, 3, 8, 8],
    )
    exact = torch.tensor(prepared["data"], dtype=torch.float32).reshape(2, 3, 8, 8)
    assert torch.equal(exact, batch.float() / 255)
    pixels = KServeRequest(format="kserve-v2", input="x", datatype="UINT8")
    last = json_of(pixels, batch, Preparation(images="NHWC"))["inputs"][0]
    assert last["shape"] == [2, 8, 8, 3]
    assert last["data"] == batch.permute(0, 2, 3, 1).flatten().tolist()
    masked = KServeRequest(format="kserve-v2", input="i", datatype="INT64", mask="m")
    for preparation in (Preparation(), Preparation(tokens="mapping")):
        assert json_of(masked, TOKENS, preparation)["inputs"] == [
            {"name": "i", "datatype": "INT64", "shape": [2, 2], "data": [5, 6, 7, 8]},
            {"name": "m", "datatype": "INT64", "shape": [2, 2], "data": [1, 1, 1, 1]},
        ]


@pytest.mark.parametrize(
    ("datatype", "batch"),
    [("FP32", TOKENS), ("UINT8", TOKENS), ("UINT8", AUDIO), ("INT64", AUDIO), ("INT64", POINTS)],
)
def test_a_datatype_fits_its_samples(datatype: Any, batch: torch.Tensor) -> None:
    with pytest.raises(OptionError, match=r"set request\.datatype"):
        json_of(KServeRequest(format="kserve-v2", input="x", datatype=datatype), batch)


def test_placeholders_are_replaced_wherever_they_stand() -> None:
    batch = images(2)
    made = json_of(
        template({"a": [{"b": "$inputs"}], "c": "$images_base64", "d": "rest", "e": 0.5}), batch
    )
    assert torch.equal(torch.tensor(made["a"][0]["b"]), batch.float() / 255)
    assert [base64.b64decode(text) for text in made["c"]] == [png(image) for image in batch]
    assert (made["d"], made["e"]) == ("rest", 0.5)
    assert json_of(template("$input", values="integers"), batch[:1]) == batch[0].tolist()
    assert json_of(template({"t": "$inputs"}), TOKENS) == {"t": [[5, 6], [7, 8]]}
    spoken = json_of(template("$audio_base64", sample_rate=8_000), AUDIO[:1])
    assert base64.b64decode(spoken) == wav(AUDIO[0], 8_000)
    assert json_of(template("$inputs"), AUDIO)[0] == [0.0, 2.0**-15, -1.0, 1 - 2.0**-15]


def test_a_form_carries_one_file() -> None:
    body = body_of(MultipartRequest(format="multipart", form={"a": "1"}), Preparation(), images(1))
    assert body.fields == {"a": "1"}
    assert body.file == ("file", "image.png", png(images(1)[0]), "image/png")
    spoken = MultipartRequest(format="multipart", media="wav", field="clip")
    assert body_of(spoken, Preparation(), AUDIO[:1]).file[:2] == ("clip", "audio.wav")
    with pytest.raises(OptionError, match="one sample, got 2"):
        body_of(MultipartRequest(format="multipart"), Preparation(), images(2))
