"""A small marked model, its owner and data; every audit of the tests is of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from modeldeed import Owner, Passport
from modeldeed.data import Dataset
from tests.attacks.conftest import DigitNet, digits, seeded, trained
from tests.cli.conftest import planted

__all__ = ["Marked", "digits", "marked", "trained"]


@dataclass(frozen=True)
class Marked:
    model: nn.Module
    passport: Passport
    owner: Owner
    data: Dataset


class Net(DigitNet):
    """Wide enough for a claim that verifies: 160 bits."""

    def __init__(self) -> None:
        super().__init__(32)


@pytest.fixture(scope="session")
def marked(digits: Dataset, owner: Owner, tmp_path_factory: pytest.TempPathFactory) -> Marked:
    """A model that carries its passport; it was not taught to read digits."""
    model = seeded(Net)
    passport = Passport.issue(model, owner, example=digits.x_train[:2])
    planted(passport, tmp_path_factory.mktemp("audit") / "passport")
    model = copy.deepcopy(model).eval().requires_grad_()
    with torch.no_grad():
        model.zero_grad(set_to_none=True)
    return Marked(model, passport, owner, digits.subset(64, 50))
