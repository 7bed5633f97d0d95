"""A forgery by rotation: somebody else's transformer, turned until it carries one's own bits.

No output changes and every row still fits its own anchor row best, so the order of channels shows
nothing. If rotations were fitted to the registered reference, the original and all its copies
would carry the forger's bits.
"""

from __future__ import annotations

import copy
from functools import cache
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed import Owner, Passport
from modeldeed.alignment import check_order
from modeldeed.alignment.align import align
from modeldeed.alignment.reading import read_aligned, twice
from modeldeed.attacks.invariance import residual_rotation, rotate_residual
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.passport.evidence.signature import claimed_bits, passport_rows
from modeldeed.statistics import Budget, log_binomial_tail
from modeldeed.suspects import open_weights

pytest.importorskip("transformers")
from tests.alignment.trained_transformers import LENGTH, learn, llama

WIDTH, STEPS = 64, 150
EXAMPLE = torch.arange(4 * LENGTH).reshape(4, LENGTH)


def turned_by(model: nn.Module, matrix: Tensor) -> nn.Module:
    with mock.patch.object(residual_rotation, "_orthogonal", return_value=matrix):
        return rotate_residual(model, EXAMPLE, generator=torch.Generator())


class Forged:
    """The victim's model, the forger's exhibit and his reference, all of one function."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            self.victim = llama(0, WIDTH, 3)
            learn(self.victim, 60, 0)
            # With its norms folded the model is as good an exhibit as any.
            self.exhibit = turned_by(self.victim, torch.eye(WIDTH))
            self.owner = Owner(bytes([9]) * 32, "forger")
            passport = Passport.issue(
                copy.deepcopy(self.exhibit), self.owner, example=EXAMPLE, label="mine"
            )
            self.claim = PassportClaim.of(passport, self.owner)
            self.reference = turned_by(self.exhibit, self._fitting())

    def _fitting(self) -> Tensor:
        """A small rotation under which his bits are read."""
        key, targets = self.claim.model_key(), self.claim.manifest.anchor.targets
        state = {name: value.detach() for name, value in self.exhibit.state_dict().items()}
        passports = [
            passport_rows(key, place, target, "gamma", "keyed").float().reshape(target.shape)
            for place, target in enumerate(targets)
        ]
        bits = [claimed_bits(key, place, target).float() for place, target in enumerate(targets)]
        skew = torch.zeros(WIDTH, WIDTH, requires_grad=True)
        optimizer = torch.optim.Adam([skew], lr=5e-4)
        for step in range(STEPS):
            matrix = torch.matrix_exp(skew - skew.mT)
            loss = 2e-3 * (skew - skew.mT).square().sum() if step < STEPS - 20 else torch.zeros(())
            for target, passport, claimed in zip(targets, passports, bits, strict=True):
                weight = state[target.weight] @ matrix.mT
                read = (weight * passport).sum(0) / weight.norm(dim=0)
                loss = loss + F.relu(0.15 - claimed * read).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return torch.matrix_exp(skew - skew.mT).detach()

    def matches(self, weights: dict[str, Tensor]) -> int:
        targets, scales = self.claim.manifest.anchor.targets, self.reference.state_dict()
        held = {t.weight: weights[t.weight] for t in targets}
        held |= {str(t.affine): scales[str(t.affine)] for t in targets}
        return matches_of(load_layers(open_weights(held), targets), self.claim.model_key())


@cache
def forged() -> Forged:
    return Forged()


@pytest.mark.slow
def test_the_forgery_is_what_it_says() -> None:
    made = forged()
    bits = sum(target.bits for target in made.claim.manifest.anchor.targets)
    with torch.no_grad():
        gap = made.reference(EXAMPLE).logits - made.victim(EXAMPLE).logits
    assert gap.abs().max() < 1e-3 * made.victim(EXAMPLE).logits.abs().max()
    assert made.matches(made.reference.state_dict()) > 0.95 * bits
    assert made.matches(made.exhibit.state_dict()) < 0.6 * bits
    order = check_order(
        made.claim.manifest.anchor, made.claim.model_key(), open_weights(made.exhibit),
        open_weights(made.reference),
    )  # fmt: skip
    assert order.valid, "the order of channels does not show it: what the exhibit's basis is for"


@pytest.mark.slow
@pytest.mark.parametrize("turned", [False, True], ids=["as it is", "turned anew"])
def test_the_original_does_not_carry_the_forgers_bits(turned: bool) -> None:
    made = forged()
    anchor, key = made.claim.manifest.anchor, made.claim.model_key()
    suspect: nn.Module = made.victim
    if turned:
        suspect = rotate_residual(suspect, EXAMPLE, generator=torch.Generator().manual_seed(4))
    order = check_order(anchor, key, open_weights(made.exhibit), open_weights(made.reference))
    found = read_aligned(
        suspect, made.reference, made.claim, twice(Budget()), base=bytes(32),
        suspect_digest=bytes(32), order=order, exhibit=made.exhibit, decoys=0,
    )  # fmt: skip
    assert log_binomial_tail(found.matches, found.bits) > -16
    # What must not be: a rotation that is fitted to the reference itself.
    assert anchor.probes is not None
    leaked = align(
        suspect, made.reference, anchor.targets, seed=bytes(32), like=anchor.probes, key=key,
        exhibit=made.reference,
    )  # fmt: skip
    assert made.matches(dict(leaked.weights)) > 0.9 * found.bits
