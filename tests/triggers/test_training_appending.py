"""Appending triggers to batches of any form, and refusing where they do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modeldeed.errors import OptionError
from modeldeed.triggers.appending import appended, like_inputs, like_targets, with_labels

EXTRA = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_tensor_gets_triggers_of_its_own_dtype(dtype: torch.dtype) -> None:
    batch = torch.rand(5, 3, 4, 4).to(dtype)
    joined = appended(batch, like_inputs(batch, EXTRA))
    assert joined.dtype == dtype
    assert torch.equal(joined[:5], batch)
    assert torch.equal(joined[5:], EXTRA.to(dtype))


def test_channels_last_is_kept() -> None:
    for layout in (torch.channels_last, torch.contiguous_format):
        batch = torch.rand(5, 3, 4, 4).contiguous(memory_format=layout)
        joined = appended(batch, like_inputs(batch, EXTRA))
        assert joined.is_contiguous(memory_format=layout)
        assert torch.equal(joined, torch.cat([batch.contiguous(), EXTRA]))


def test_nested_batches_with_one_tensor_of_samples() -> None:
    x = torch.rand(5, 3, 4, 4)
    for batch in ((x,), [x], {"pixels": x}, {"pixels": x, "scale": torch.tensor(2.0), "on": True}):
        joined = appended(batch, like_inputs(batch, EXTRA))
        assert type(joined) is type(batch)
        found = joined["pixels"] if isinstance(joined, dict) else joined[0]
        assert torch.equal(found, torch.cat([x, EXTRA]))
        if isinstance(joined, dict) and "on" in joined:
            assert joined["on"] is True
            assert float(joined["scale"]) == 2


def tokens(count: int) -> dict[str, Tensor]:
    return {
        "input_ids": torch.arange(count * 6).reshape(count, 6),
        "attention_mask": torch.ones(count, 6, dtype=torch.int64),
    }


def test_token_mappings_leaf_by_leaf() -> None:
    batch = {name: t.to(torch.int32) for name, t in reversed(tokens(3).items())}
    joined = appended(batch, like_inputs(batch, tokens(2)))
    assert joined["input_ids"].dtype == torch.int32
    for name, leaf in batch.items():
        assert torch.equal(joined[name], torch.cat([leaf, tokens(2)[name].int()]))
    # A model without a mask gets none.
    assert set(like_inputs({"input_ids": batch["input_ids"]}, tokens(2))) == {"input_ids"}


def test_another_batch_dimension() -> None:
    batch = torch.rand(7, 5, 3)
    extra = torch.rand(2, 7, 3)
    joined = appended(batch, like_inputs(batch, extra, 1), 1)
    assert torch.equal(joined[:, 5:], extra.transpose(0, 1))


def test_labels_within_a_batch() -> None:
    batch = {**tokens(3), "labels": torch.tensor([1, 2, 3])}
    joined = appended(batch, like_inputs(batch, with_labels(tokens(2), torch.tensor([7, 8]))))
    assert joined["labels"].tolist() == [1, 2, 3, 7, 8]
    with pytest.raises(OptionError, match="without targets"):
        with_labels(EXTRA, torch.tensor([7, 8]))


@pytest.mark.parametrize(
    ("batch", "extra", "message"),
    [
        (torch.rand(5, 3, 4, 5), EXTRA, r"\(5, 3, 4, 5\), triggers \(2, 3, 4, 4\)"),
        (torch.rand(5, 3, 4), EXTRA, r"shape \(5, 3, 4\)"),
        (torch.zeros(5, 3, 4, 4, dtype=torch.uint8), EXTRA, "another scale"),
        ((EXTRA, EXTRA), EXTRA, "2 tensors of samples"),
        ({"on": True}, EXTRA, "0 tensors of samples"),
        ({"input_ids": EXTRA, "token_type_ids": EXTRA}, tokens(2), "'token_type_ids'"),
        (EXTRA, tokens(2), "a batch has"),
        ({**tokens(3), "labels": torch.zeros(3)}, tokens(2), "'labels'"),
    ],
)
def test_what_does_not_fit_is_refused(batch: Any, extra: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        like_inputs(batch, extra)


def test_targets() -> None:
    labels = torch.tensor([2, 0])
    classes = like_targets(torch.tensor([1, 1, 1], dtype=torch.int32), labels, 3)
    assert classes.dtype == torch.int32
    assert classes.tolist() == [2, 0]
    shares = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    assert like_targets(shares, labels, 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert like_targets(shares, labels, 3).dtype == torch.float64
    assert like_targets(shares.T, labels, 3, 1).tolist() == [[0, 1], [0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.zeros(4, 5), "shares of 5 classes"),
        (torch.zeros(4, 3, dtype=torch.int64), "classes"),
        (torch.zeros(4), "classes"),
        ([1, 2], "a list"),
    ],
)
def test_targets_of_another_form_are_refused(targets: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        like_targets(targets, torch.tensor([2, 0]), 3)
