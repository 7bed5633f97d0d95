"""A marked model with its deed, made once for all tests."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modeldeed import Deed, Owner, Passport
from modeldeed.deed import Opening
from modeldeed.suspects import open_weights

NONCE = "5a" * 16


def host(seed: int = 3) -> nn.Sequential:
    """A small network that holds 176 bits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 48, 3, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, 128, 3, bias=False),
            nn.BatchNorm2d(128),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, 10),
        )


def planted(model: nn.Module, owner: Owner, **options: Any) -> Passport:
    """A passport whose bits are written into a model by their loss alone."""
    passport = Passport.issue(model, owner, example=torch.rand(2, 1, 8, 8), **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(25):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    return passport


@dataclass(frozen=True)
class Marked:
    """A marked model, its passport and its deed.

    Attributes:
        folder: with model.safetensors, passport/ and model.deed/.
        owner: whose it is.
        passport: with triggers in the same anchor.
        deed: as it was made.
    """

    folder: Path
    owner: Owner
    passport: Passport
    deed: Deed

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    def opening(self, suspect: Path | None = None, **options: Any) -> Opening:
        digest = open_weights(suspect or self.model).digest()
        return self.deed.open(self.owner, digest, NONCE, **options)


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory, owner: Owner) -> Marked:
    folder = tmp_path_factory.mktemp("marked")
    model = host()
    passport = planted(model, owner, label="resnet-v1", classes=10, triggers=True, message="A1")
    save_file(model.state_dict(), folder / "model.safetensors")
    passport.save(folder / "passport")
    deed = Deed.create(folder / "model.safetensors", owner=owner, marks=[folder / "passport"])
    deed.save(folder / "model.deed")
    return Marked(folder, owner, passport, deed)


@pytest.fixture
def copied(marked: Marked, tmp_path: Path) -> Path:
    """A deed's folder that a test may change."""
    return Path(shutil.copytree(marked.folder / "model.deed", tmp_path / "model.deed"))
