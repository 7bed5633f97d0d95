"""Authorities of this machine, and a host of 672 bits whose weights a test can write by hand."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
import torch
from torch import nn

from modeldeed import Passport
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.owner import Owner
from modeldeed.streams import KeyStream
from tests.timestamping.authorities import LocalAuthority, make_authority

AT = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
BITS, FAN = 672, 16
EXAMPLE = torch.zeros(2, FAN)


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return make_authority(tmp_path_factory.mktemp("tsa"), "One")


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return make_authority(tmp_path_factory.mktemp("tsa"), "Two", policy="1.2.3.4.2")


def host(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FAN, BITS), nn.LayerNorm(BITS))


def anchored(
    owner: Owner, authority: LocalAuthority, model: nn.Module, at: datetime = AT
) -> Anchoring:
    """An anchor with its token."""
    anchoring = Passport.anchor(model, owner, example=EXAMPLE, authority=authority.trusted)
    anchoring.accept(authority.stamp(anchoring.request(), at))
    return anchoring


def write_bits(model: nn.Sequential, passport: Passport, owner: Owner, matches: int) -> None:
    """Write weights of which exactly so many bits read as claimed."""
    key = passport.manifest.model_key(owner)
    rows = KeyStream(key, "passport", 0, "gamma").signs(BITS * FAN).reshape(BITS, FAN)
    bits = KeyStream(key, "bits", 0).signs(BITS)
    bits[matches:] *= -1
    with torch.no_grad():
        model[0].weight.copy_(rows * bits[:, None])
