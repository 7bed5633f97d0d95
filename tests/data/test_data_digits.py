"""The embedded digits."""

from __future__ import annotations

import hashlib
import sys

import pytest
import torch

from modeldeed.data import digits
from modeldeed.errors import MissingExtraError


def test_sizes_types_and_range() -> None:
    dataset = digits()
    assert dataset.x_train.shape == (1400, 1, 8, 8)
    assert dataset.x_test.shape == (397, 1, 8, 8)
    assert dataset.x_train.dtype == torch.float32
    assert dataset.x_train.unique().tolist() == [value / 16 for value in range(17)]
    assert dataset.classes == tuple("0123456789")


def test_the_split_is_stratified() -> None:
    dataset = digits()
    counts = torch.bincount(dataset.y_train) + torch.bincount(dataset.y_test)
    share = torch.bincount(dataset.y_test) - counts * 397 / 1797
    assert share.abs().max() < 1


def test_the_split_never_changes() -> None:
    # Figures measured on these parts are compared across versions: this digest is for ever.
    dataset = digits()
    content = (dataset.x_test * 16).to(torch.uint8).numpy().tobytes() + bytes(
        dataset.y_test.tolist()
    )
    assert hashlib.sha256(content).hexdigest() == (
        "b4a686259547b7c7484e1700173097ec1ea4f3457b5096b366f1a93e240eb58d"
    )


def test_parts_are_disjoint_and_complete() -> None:
    from sklearn.datasets import load_digits

    dataset = digits()
    rows = torch.cat([dataset.x_train, dataset.x_test]).flatten(1) * 16
    assert sorted(rows.tolist()) == sorted(load_digits().data.tolist())


def test_missing_scikit_learn_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        MissingExtraError, match=r"scikit-learn.*pip install 'modeldeed\[demo\]'"
    ) as e:
        digits()
    assert isinstance(e.value, ImportError)
    assert (e.value.package, e.value.extra) == ("scikit-learn", "demo")
