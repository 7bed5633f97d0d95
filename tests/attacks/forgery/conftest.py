"""What a forger holds of a small marked network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modeldeed.attacks.forgery import Stolen
from modeldeed.data import Dataset
from tests.attacks.forgery.marked import Victim, network, small_data


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return small_data()


@pytest.fixture(scope="session")
def published_victim(dataset: Dataset) -> Victim:
    return Victim(dataset, rows="shared", head="learned")


@pytest.fixture(scope="session")
def victim(dataset: Dataset) -> Victim:
    return Victim(dataset)


@pytest.fixture
def hold(dataset: Dataset, tmp_path: Path) -> Iterator[Callable[[Victim], Stolen]]:
    """Return what a forger holds of a victim; afterwards the model must be as it was."""
    before: list[tuple[nn.Module, dict[str, Tensor]]] = []

    def stolen(victim: Victim) -> Stolen:
        model = victim.model
        before.append((model, copy.deepcopy(model.state_dict())))
        claim = victim.published() if victim.passport.manifest.anchor.passport_rule.rows == (
            "shared"
        ) else None  # fmt: skip
        return Stolen(
            model,
            dataset,
            lambda seed: network(100 + seed),
            tmp_path,
            heads=claim.heads if claim else None,
            statistics=claim.statistics if claim else None,
        )

    yield stolen
    for model, state in before:
        assert not model.training
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)
