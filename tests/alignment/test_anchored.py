"""References that were made when the bits were known: what they bend, the anchor's exhibit undoes.

Whoever knows his bits can give his reference any scales, rows and silent channels that he likes
without a change of its order. Read in the reference's coordinates, somebody else's original would
carry his bits; read in those of his exhibit, which is older than the bits, it does not.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Literal
from unittest import mock

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.alignment import check_order, reader
from modeldeed.alignment.anchored import InPlace, in_place, of_lengths
from modeldeed.alignment.reading import judge_aligned, read_aligned, twice
from modeldeed.anchor import Target
from modeldeed.errors import SuspectError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.passport.evidence.signature import layer_secrets
from modeldeed.results import Verdict
from modeldeed.statistics import Budget, log_binomial_tail
from modeldeed.suspects import open_weights
from tests.resolving.world import host, planted

ANCHORED = twice(Budget(grinding_log2=20))
Side = Literal["rows", "columns"]
X = torch.randn(32, 3, 10, 10, generator=torch.Generator().manual_seed(5))


def settled(model: nn.Module) -> nn.Module:
    """With statistics of what its layers say."""
    for module in model.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        model(X)
    return model.eval()


def as_it_is(weights: Mapping[str, Tensor], *_: Any, **__: Any) -> InPlace:
    """What a reading would be in the reference's coordinates."""
    return InPlace(weights, 0)


class Forger:
    """An exhibit, the key that came of it, and the victim's model."""

    def __init__(self, exhibit: nn.Module) -> None:
        self.victim, self.exhibit = settled(host(1)), exhibit
        self.owner = Owner(bytes([9]) * 32, "forger")
        passport = Passport.issue(copy.deepcopy(exhibit), self.owner, example=X[:2], label="mine")
        self.manifest = passport.manifest
        self.claim = PassportClaim.of(passport, self.owner)
        self.key, self.targets = self.claim.model_key(), self.manifest.anchor.targets

    def secrets(self, ordinal: int) -> tuple[Tensor, Tensor]:
        """Passport rows, ``(C, D)``, and bits."""
        found = layer_secrets(self.key, ordinal, self.targets[ordinal])
        return found.passports[0].float().flatten(1), found.bits.float()

    def read(self, reference: nn.Module, *, guarded: bool = True) -> AlignedEvidence:
        """The aligned reading of the victim's original, and what it was before the guard."""
        order = check_order(
            self.manifest.anchor, self.key, open_weights(self.exhibit), open_weights(reference)
        )
        assert order.valid, "the order of its channels must not show the forgery"
        with mock.patch.object(reader, "in_place", in_place if guarded else as_it_is):
            return read_aligned(
                self.victim, reference, self.claim, ANCHORED, base=bytes(32),
                suspect_digest=bytes(32), order=order, exhibit=self.exhibit, decoys=0,
            )  # fmt: skip


def mixed() -> tuple[Forger, nn.Module]:
    """A start of his own; to each row one of the victim's is added, in an order that fits."""
    forger = Forger(settled(host(77)))
    made, order = copy.deepcopy(forger.exhibit.state_dict()), torch.arange(3)
    theirs = forger.victim.state_dict()
    for ordinal, target in enumerate(forger.targets):
        passports, bits = forger.secrets(ordinal)
        weight = theirs[target.weight][:, order]
        fits = (bits[:, None] * (passports @ weight.flatten(1).T) > 0).float()
        order = torch.from_numpy(linear_sum_assignment(fits.numpy(), maximize=True)[1])
        made[target.weight] = (made[target.weight] + weight[order]) / 2
    reference = host(0)
    reference.load_state_dict(planted(made, forger.manifest, forger.owner, margin=3.0))
    return forger, settled(reference)


def scaled() -> tuple[Forger, nn.Module]:
    """The victim's own function, its channels as loud as his bits like it.

    His exhibit has the victim's weights, and says nothing: it can show no copy's bits.
    """
    exhibit = settled(host(1))
    exhibit.get_buffer("1.running_mean").fill_(1e9)
    forger = Forger(exhibit)
    reference = copy.deepcopy(forger.victim)
    for ordinal, target in list(enumerate(forger.targets))[1:]:
        layer = int(target.weight.split(".")[0])
        conv, norm = (reference.get_submodule(str(k)) for k in (layer, layer - 2))
        weight = conv.get_parameter("weight").detach()
        passports, bits = forger.secrets(ordinal)
        said = (weight * passports.view_as(weight)).flatten(2).sum(2) * bits[:, None]
        loud = torch.zeros(said.shape[1], requires_grad=True)
        optimizer = torch.optim.Adam([loud], lr=0.05)
        for _ in range(250):
            read = said @ loud.exp() / (weight.square().flatten(2).sum(2) @ (2 * loud).exp()).sqrt()
            optimizer.zero_grad()
            loss = torch.relu(0.3 - read).mean() + 1e-3 * loud.square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            conv.get_parameter("weight").mul_(loud.exp().view(1, -1, 1, 1))
            for name in ("weight", "bias"):
                norm.get_parameter(name).div_(loud.exp())
    with torch.no_grad():
        assert torch.allclose(reference(X), forger.victim(X), atol=1e-4)
    return forger, reference


def test_rows_that_were_mixed_into_a_reference_are_not_read() -> None:
    forger, reference = mixed()
    held = matches_of(load_layers(open_weights(reference), forger.targets), forger.key)
    without = forger.read(reference, guarded=False)
    assert held == 192
    assert judge_aligned(without, ANCHORED)[0] is Verdict.VERIFIED, "what the guard is for"
    assert without.exhibit_matches is not None
    assert log_binomial_tail(without.exhibit_matches, 192) > -7, "the exhibit does not show it"
    found = forger.read(reference)
    assert found.matches < 0.1 * found.bits
    assert judge_aligned(found, ANCHORED)[0] is not Verdict.VERIFIED


def test_scales_that_were_chosen_for_a_reference_are_not_read() -> None:
    forger, reference = scaled()
    without, found = forger.read(reference, guarded=False), forger.read(reference)
    assert sum(layer.matches for layer in without.layers[1:]) >= 110, "of 128"
    assert without.exhibit_matches is None or without.exhibit_matches < 100
    assert log_binomial_tail(sum(layer.matches for layer in found.layers[1:]), 128) > -10


def linear(outputs: int, inputs: int, seed: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    generator = torch.Generator().manual_seed(seed)
    layer.weight.data = torch.randn(outputs, inputs, generator=generator)
    return layer


def held_against(weight: Tensor, exhibit: nn.Linear, side: Side = "rows") -> InPlace:
    axis = 0 if side == "rows" else 1
    target = Target(
        norm="norm", kind="layer", channels=weight.shape[axis], affine=None, weight="0.weight",
        shape=tuple(weight.shape), axis=axis, side=side,
    )  # fmt: skip
    return in_place({"0.weight": weight}, nn.Sequential(exhibit), [target], bytes(32), "keyed")


def test_channels_that_were_left_out_are_paid_for() -> None:
    exhibit = linear(48, 40, 0)
    whole = exhibit.weight.detach()
    assert held_against(whole, exhibit).choices_log2 == 0
    assert held_against(whole, exhibit, "columns").choices_log2 == 0
    chosen = torch.arange(40) < 15
    found = held_against(torch.where(chosen, 0.0, whole), exhibit)
    assert found.choices_log2 == math.ceil(math.log2(math.comb(40, 15)) + math.log2(41))
    fewer = held_against(torch.where(torch.arange(48)[:, None] < 15, 0.0, whole), exhibit)
    assert fewer.choices_log2 == 0, "a row that is not there is a mismatch and not a choice"


@pytest.mark.parametrize("side", ["rows", "columns"])
def test_what_stands_elsewhere_is_not_read(side: Side) -> None:
    exhibit = linear(48, 48, 0)
    whole = exhibit.weight.detach()
    moved = whole.clone()
    moved[[3, 4]], moved[7] = moved[[4, 3]], -moved[7]
    moved[:, 9] *= -1
    found = held_against(moved, exhibit, side).weights["0.weight"]
    rows, columns = (found.abs().amax(dim) == 0 for dim in (1, 0))
    # A row that fits nowhere can push one or two others from their places.
    for zero, elsewhere in ((rows, {3, 4, 7}), (columns, {9})):
        missing = set(zero.nonzero().flatten().tolist())
        assert missing >= elsewhere
        assert len(missing) <= len(elsewhere) + 2


@pytest.mark.parametrize("groups", [1, 4])
def test_no_scale_of_the_reference_is_left(groups: int) -> None:
    drawn = torch.Generator().manual_seed(0)
    weight, like = (torch.randn(16, 8, 3, 3, generator=drawn) for _ in range(2))
    rows = torch.rand(16, 1, 1, 1, generator=drawn) * 5 + 0.1
    columns = torch.rand(groups, 1, 8, 1, 1, generator=drawn) * 5 + 0.1
    scaled = (rows * weight).view(groups, -1, 8, 3, 3) * columns
    one, two = (of_lengths(w, like, groups) for w in (weight, scaled.reshape(weight.shape)))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)
    own = of_lengths(like, like, groups)
    assert torch.cosine_similarity(own.flatten(), like.flatten(), dim=0) > 0.99999


def test_numbers_that_are_none_say_nothing() -> None:
    exhibit = linear(24, 24, 0)
    weight = exhibit.weight.detach().clone()
    weight[0], weight[1, 1], weight[2] = math.nan, math.inf, 1e30
    found = held_against(weight, exhibit).weights["0.weight"]
    assert bool(found.isfinite().all())
    assert float(found[0].abs().max()) == 0


def test_model_code_without_the_claims_weights_is_refused() -> None:
    """A claimant's file can hold the tensors of any architecture that a judge may try."""
    forger = Forger(settled(host(77)))
    other = nn.Sequential(nn.Flatten(), nn.Linear(300, 4))
    order = check_order(
        forger.manifest.anchor, forger.key, open_weights(forger.exhibit),
        open_weights(forger.victim),
    )  # fmt: skip
    read: dict[str, Any] = {"base": bytes(32), "suspect_digest": bytes(32), "order": order}
    for reference, exhibit in ((other, forger.exhibit), (forger.victim, other)):
        with pytest.raises(SuspectError, match="give the architecture"):
            read_aligned(
                forger.victim, reference, forger.claim, ANCHORED, exhibit=exhibit, decoys=0, **read
            )


def test_a_copy_that_is_older_is_found_whatever_the_exhibit() -> None:
    """Who chooses an exhibit in which no row has a place of its own hides no earlier carrier."""
    forger = Forger(settled(host(77)))
    state = planted(forger.exhibit.state_dict(), forger.manifest, forger.owner)
    reference, alike = copy.deepcopy(forger.exhibit), copy.deepcopy(forger.exhibit)
    reference.load_state_dict(state)
    for tensor in alike.state_dict().values():
        if tensor.dim() == 4:
            tensor.copy_(tensor[:1].expand_as(tensor))
    found = read_aligned(
        reference, reference, forger.claim, ANCHORED, base=bytes(32), suspect_digest=bytes(32),
        order=None, exhibit=alike, decoys=0,
    )  # fmt: skip
    assert found.matches == found.bits
