"""The pieces of work whose growth is measured, and the least that each of them has to do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from torch import nn

from benchmarks.pairs import owner_for
from modeldeed import Passport, TriggerSet, verify
from modeldeed.anchor import Target
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.querying.query import query
from modeldeed.suspects import open_weights

__all__ = ["WORKS", "Prepared", "Work"]

Call = Callable[[], object]


@dataclass(frozen=True)
class Prepared:
    """One piece of work at one size.

    Attributes:
        run: the work.
        limit: the least that has to be done.
        repeat_limit: how often that is done for one run of the work.
    """

    run: Call
    limit: Call
    repeat_limit: int = 1


@dataclass(frozen=True)
class Work:
    """A kind of work.

    Attributes:
        name: of it.
        size: what it grows with.
        limit: the least that has to be done, in words.
        prepare: makes it at a size.
        memory: whether its peak memory is looked at.
    """

    name: str
    size: str
    limit: str
    prepare: Callable[[int], Prepared]
    memory: bool = False


_CHANNELS = 256


def _verified_parameters(count: int) -> Prepared:
    """A network of so many parameters in layers of one width, verified whole."""
    return _verified(max(1, count // _CHANNELS**2 // 16), 16 * _CHANNELS)


def _verified(layers: int, fan: int) -> Prepared:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = [_Block(fan) for _ in range(layers)]
    model = nn.Sequential(*blocks).eval()
    owner = owner_for(0)
    passport = Passport.issue(model, owner, example=torch.zeros(2, _CHANNELS))
    state = {name: value.detach() for name, value in model.state_dict().items()}

    def run() -> object:
        return verify(state, passport=passport, owner=owner)

    def limit() -> object:
        # A verdict names the suspect, so all of its bytes go through a cryptographic hash once.
        return [(hashlib.sha256(value.numpy()), value.sum()) for value in state.values()]

    return Prepared(run, limit)


class _Block(nn.Module):
    """A wide product whose few outputs are normalized: many weights for each bit."""

    def __init__(self, fan: int) -> None:
        super().__init__()
        self.fan = fan
        self.linear = nn.Linear(fan, _CHANNELS, bias=False)
        self.norm = nn.LayerNorm(_CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 256)`` in and out."""
        wide = x.repeat(1, self.fan // _CHANNELS)
        out: torch.Tensor = self.norm(self.linear(wide))
        return out


def _verified_layers(count: int) -> Prepared:
    """So many small layers: what each of them costs beside its bytes."""
    return _verified(count, _CHANNELS)


def _wrong_keys(count: int) -> Prepared:
    """A checkpoint read under so many keys."""
    width, layers = 256, 16
    targets = [
        Target(
            norm=f"{i}.norm", kind="layer", channels=width, affine=f"{i}.norm.weight",
            weight=f"{i}.weight", shape=(width, width), axis=0, side="rows",
        )
        for i in range(layers)
    ]  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Any] = {}
    for i in range(layers):
        state[f"{i}.weight"] = torch.randn(width, width, generator=generator)
        state[f"{i}.norm.weight"] = torch.ones(width)
    loaded = load_layers(open_weights(state), targets)
    keys = decoy_keys(0, count)
    rows = torch.randn(layers * width, width, generator=generator)
    signs = torch.randn(layers * width, width, generator=generator).sign()
    return Prepared(
        lambda: [matches_of(loaded, key) for key in keys],
        lambda: (rows * signs).sum(1),
        repeat_limit=count,
    )


def _triggers(count: int) -> Prepared:
    """So many triggers drawn, of 3 × 32 × 32 integers each."""
    owner, image = owner_for(0), torch.zeros(1, 3, 32, 32)
    issued = TriggerSet.issue(owner, example=image, classes=10, count=count, batches=1)

    def stream() -> object:
        encryptor = Cipher(ChaCha20(bytes(32), bytes(16)), mode=None).encryptor()
        return encryptor.update(bytes(count * image.numel()))

    return Prepared(lambda: issued.batch(0), stream)


def _answers(count: int) -> Prepared:
    """So many questions asked of a model that answers at once, and tested."""
    owner, image = owner_for(0), torch.zeros(1, 3, 32, 32)
    issued = TriggerSet.issue(owner, example=image, classes=10, count=count, batches=1)
    inputs = issued.prepared()
    if not isinstance(inputs, torch.Tensor):
        raise AssertionError("triggers of one input are a tensor")

    def answer(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :10]

    return Prepared(
        lambda: query(answer, triggers=issued, owner=owner, count=count),
        lambda: issued.batch(0),
    )


_WEIGHTS = "SHA-256 of all weights, and their sum"

WORKS = (
    Work("verify", "parameters", _WEIGHTS, _verified_parameters, memory=True),
    Work("verify, many layers", "layers", _WEIGHTS, _verified_layers),
    Work("wrong keys", "keys", "one product and sum over the bound weights for each key",
         _wrong_keys),
    Work("triggers", "triggers", "as many bytes of ChaCha20", _triggers),
    Work("questions", "questions", "drawing the triggers, which the suspect is asked", _answers),
)  # fmt: skip
