"""Fixtures of the tests of hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Give every test the same random weights, and the next one its own state back."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
