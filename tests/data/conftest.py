"""Small files in the formats the readers understand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Arrays = dict[str, Any]


@pytest.fixture
def image_arrays() -> Arrays:
    """Return six training and four test images of two classes, 5x6 pixels, RGB."""
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (6, 5, 6, 3), dtype=np.uint8),
        "y_train": np.array([0, 1, 1, 0, 0, 1]),
        "x_test": random.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8),
        "y_test": np.array([1, 0, 0, 1]),
    }


@pytest.fixture
def point_arrays() -> Arrays:
    """Return six training and four test clouds of eight points, three classes."""
    random = np.random.default_rng(0)
    return {
        "x_train": random.normal(size=(6, 8, 3)).astype(np.float32),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": random.normal(size=(4, 8, 3)).astype(np.float32),
        "y_test": np.array([2, 1, 0, 0]),
    }


@pytest.fixture
def save_npz(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes arrays to an archive in the test's folder."""

    def save(arrays: Arrays, name: str = "toy", **changes: Any) -> Path:
        path = tmp_path / f"{name}.npz"
        kept = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
        np.savez(path, **kept)
        return path

    return save


@pytest.fixture(autouse=True)
def global_randomness_stays_untouched() -> Iterator[None]:
    """Check after every test of this room that no reader seeds or draws globally.

    Tests draw from generators of their own.
    """
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
