"""A trained network, and what was done to copies of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modeldeed.attacks import Attack, AttackData, chosen
from modeldeed.data import Dataset
from modeldeed.inspecting import Inspection, inspect_suspect
from modeldeed.training import Recipe, train
from tests.attacks.conftest import DigitNet, digits, trained

__all__ = ["State", "digits", "trained"]

State = dict[str, Tensor]
WEIGHTS = ("conv1.weight", "conv2.weight", "conv3.weight", "fc.weight")


@pytest.fixture(scope="session")
def stranger(digits: Dataset) -> nn.Module:
    """The same architecture, trained on the same data from another start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = DigitNet()
        for _ in train(model, digits, Recipe(epochs=6, batch_size=32, learning_rate=0.05, seed=5)):
            pass
    return model.eval()


@pytest.fixture(scope="session")
def attacked(trained: nn.Module, stranger: nn.Module, digits: Dataset) -> Callable[..., nn.Module]:
    """Return a function that does some things to a copy of the network, one after the other."""
    recipe = Recipe(epochs=6, batch_size=32, learning_rate=0.05)
    data = AttackData(digits, other_model=stranger)

    def attack(*steps: tuple[str, str] | Attack) -> nn.Module:
        generator = torch.Generator().manual_seed(7)
        model = trained
        for step in steps:
            done = step if isinstance(step, Attack) else chosen(*step, recipe=recipe)
            model = done.apply(model, data, generator)
        return model

    return attack


@pytest.fixture(scope="session")
def inspected(trained: nn.Module) -> Callable[[nn.Module | State], Inspection]:
    """Return a function that inspects a suspect beside the network."""
    return lambda suspect: inspect_suspect(suspect, trained)
