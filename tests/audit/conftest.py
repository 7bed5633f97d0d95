"""A small marked model, its owner and data; every audit of the tests is of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.data import Dataset
from tests.attacks.conftest import DigitNet, digits, seeded, trained

__all__ = ["Marked", "digits", "marked", "trained"]


@dataclass(frozen=True)
class Marked:
    model: nn.Module
    passport: Passport
    owner: Owner
    data: Dataset
    unmarked: dict[str, Tensor]


class Net(DigitNet):
    """Wide enough for a claim that verifies: 160 bits."""

    def __init__(self) -> None:
        super().__init__(32)


@pytest.fixture(scope="session")
def marked(digits: Dataset, owner: Owner) -> Marked:
    """A model that carries its passport; it was not taught to read digits."""
    model = seeded(Net)
    unmarked = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    passport = Passport.issue(model, owner, example=digits.x_train[:2])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)  # gently: rows keep their order
    for _ in range(40):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    model = copy.deepcopy(model).eval().requires_grad_()
    with torch.no_grad():
        model.zero_grad(set_to_none=True)
    return Marked(model, passport, owner, digits.subset(64, 50), unmarked)
