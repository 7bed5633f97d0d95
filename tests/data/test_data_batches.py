"""Mini-batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.data import batches
from modeldeed.errors import DataError, OptionError


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 2**32 - 1), st.booleans())
def test_every_sample_once_with_its_label(
    samples: int, batch_size: int, seed: int, shuffled: bool
) -> None:
    y = torch.arange(samples)
    generator = torch.Generator().manual_seed(seed) if shuffled else None
    seen = list(batches(y[:, None] * 10, y, batch_size, generator))
    assert all(torch.equal(inputs[:, 0], labels * 10) for inputs, labels in seen)
    order = torch.cat([labels for _, labels in seen]).tolist()
    assert sorted(order) == list(range(samples))
    assert [len(labels) for _, labels in seen[:-1]] == [batch_size] * (len(seen) - 1)
    if not shuffled:
        assert order == list(range(samples))


@given(st.integers(1, 40), st.integers(1, 40))
def test_drop_last_leaves_full_batches_only(samples: int, batch_size: int) -> None:
    y = torch.arange(samples)
    if samples < batch_size:
        with pytest.raises(DataError, match=f"{samples} samples give no batch of {batch_size}"):
            batches(y, y, batch_size, None, drop_last=True)
        return
    sizes = [len(labels) for _, labels in batches(y, y, batch_size, None, drop_last=True)]
    assert sizes == [batch_size] * (samples // batch_size)


def test_shuffling_depends_on_the_generator_alone() -> None:
    y = torch.arange(100)

    def order(generator: torch.Generator) -> list[int]:
        return torch.cat([labels for _, labels in batches(y, y, 7, generator)]).tolist()

    generator = torch.Generator().manual_seed(3)
    first, second = order(generator), order(generator)
    assert first == order(torch.Generator().manual_seed(3))
    assert first != second
    assert first != y.tolist()


def test_draws_inside_the_loop_do_not_change_the_order() -> None:
    y = torch.arange(50)
    generator = torch.Generator().manual_seed(3)
    seen = []
    for _, labels in batches(y, y, 8, generator):
        torch.rand(11, generator=generator)
        seen.append(labels)
    undisturbed = batches(y, y, 8, torch.Generator().manual_seed(3))
    assert torch.equal(torch.cat(seen), torch.cat([labels for _, labels in undisturbed]))


def test_errors_come_with_the_call_and_not_with_the_first_batch() -> None:
    y = torch.arange(4)
    with pytest.raises(OptionError, match="batch_size: got 0"):
        batches(y, y, 0, None)
    with pytest.raises(DataError, match="got 3 inputs and 4 labels"):
        batches(y[:3], y, 2, None)
    with pytest.raises(DataError, match="0 samples give no batch"):
        batches(y[:0], y[:0], 2, None)
