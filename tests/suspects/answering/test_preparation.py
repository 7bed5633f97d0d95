"""Preparation: what canonical samples become, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modeldeed.digests import canonical_json
from modeldeed.errors import OptionError
from modeldeed.suspects.answering import Preparation
from modeldeed.suspects.answering.batches import kind_of
from tests.suspects.answering.models import images

POINTS = torch.tensor([[[-32768, 0, 32767], [16384, 1, -1]]], dtype=torch.int16)
AUDIO = torch.tensor([[-32768, 16384]], dtype=torch.int16)
TOKENS = torch.tensor([[7, 8, 9]])


def test_images() -> None:
    batch = images(2)
    assert torch.equal(Preparation()(batch), batch.float() / 255)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    found = Preparation(mean=mean, std=std)(batch)
    for channel in range(3):
        expected = (batch[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(found[:, channel].double(), expected, rtol=1e-6, atol=1e-6)
    last = Preparation(mean=mean, std=std, images="NHWC")(batch)
    assert torch.equal(last, found.permute(0, 2, 3, 1))
    assert found.dtype == torch.float32


def test_points_audio_and_tokens() -> None:
    found = Preparation()(POINTS)
    assert found.tolist() == [[[-1.0, 0.0, 1 - 2.0**-15], [0.5, 2.0**-15, -(2.0**-15)]]]
    assert torch.equal(Preparation(points="N3P")(POINTS), found.transpose(1, 2))
    assert Preparation()(AUDIO).tolist() == [[-1.0, 0.5]]
    assert Preparation(audio="N1L")(AUDIO).tolist() == [[[-1.0, 0.5]]]
    assert torch.equal(Preparation()(TOKENS), TOKENS)
    mapping = Preparation(tokens="mapping")(TOKENS)
    assert mapping["input_ids"].tolist() == [[7, 8, 9]]
    assert mapping["attention_mask"].tolist() == [[1, 1, 1]]


def test_what_is_prepared_is_a_copy() -> None:
    """A model that writes into its input must not change what is asked next."""
    for batch in (images(1), POINTS, AUDIO, TOKENS):
        kept = batch.clone()
        Preparation()(batch).zero_()
        assert torch.equal(batch, kept)


@pytest.mark.parametrize(
    "fields",
    [{"mean": (0.5,)}, {"mean": (0.5,), "std": (0.0,)}, {"mean": (), "std": ()},
     {"mean": (0.5,), "std": (1.0, 1.0)}, {"mean": (float("nan"),), "std": (1.0,)},
     {"images": "CHW"}, {"points": "PN3"}, {"audio": "LN"}, {"tokens": "text"}],
)  # fmt: skip
def test_fields_out_of_range(fields: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Preparation(**fields)


def test_mean_and_std_fit_the_batch() -> None:
    gray = Preparation(mean=(0.5,), std=(0.5,))
    with pytest.raises(OptionError, match="1 channels, the images have 3"):
        gray(images(1))
    with pytest.raises(OptionError, match="these samples are audio"):
        gray(AUDIO)


@pytest.mark.parametrize(
    "batch",
    [torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8),
     torch.zeros(0, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 4, 2, dtype=torch.int16),
     torch.zeros(1, 4, dtype=torch.int32), torch.zeros(1, 0, dtype=torch.int64), [[1]]],
)  # fmt: skip
def test_other_batches_are_not_canonical(batch: Any) -> None:
    with pytest.raises(OptionError):
        kind_of(batch)


@pytest.mark.parametrize(
    ("batch", "kind"),
    [(images(1), "images"), (POINTS, "points"), (AUDIO, "audio"), (TOKENS, "tokens")],
)
def test_kinds(batch: Tensor, kind: str) -> None:
    assert kind_of(batch) == kind


def test_descriptions_hold_no_floats_and_differ() -> None:
    made = [
        Preparation(),
        Preparation(mean=(0.5,), std=(0.5,)),
        Preparation(mean=(0.5,), std=(0.25,)),
        Preparation(images="NHWC"),
        Preparation(tokens="mapping"),
    ]
    assert len({canonical_json(each.description()) for each in made}) == len(made)
