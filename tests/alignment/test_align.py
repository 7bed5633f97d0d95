"""Aligned weights: what function-preserving rewrites took apart is put together again."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.alignment import Aligned, align, pairing
from modeldeed.attacks.invariance import (
    add_dummy_neurons,
    flip_signs,
    fold_norms,
    insert_layers,
    permute,
    scale,
)
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.suspects import open_weights
from tests.attacks.invariance.rewritable import inputs, small

SEED = bytes(range(32))


class Claim:
    """A marked host and its passport."""

    def __init__(self) -> None:
        self.model = small()
        owner = Owner(bytes(32), "test")
        self.passport = Passport.issue(self.model, owner, example=inputs(4))
        self.passport.embed([inputs(48)], steps=2)
        self.model.eval()
        self.key = self.passport.manifest.model_key(owner)
        self.targets = self.passport.manifest.anchor.targets
        self.bits = sum(target.bits for target in self.targets)

    def aligned(self, suspect: nn.Module, seed: bytes = SEED) -> Aligned:
        return align(suspect, self.model, self.targets, seed=seed, like=inputs(2), key=self.key)

    def matches(self, suspect: nn.Module) -> int:
        weights = open_weights(self.aligned(suspect).weights)
        return matches_of(load_layers(weights, self.targets), self.key)


@pytest.fixture(scope="module")
def claim() -> Claim:
    return Claim()


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def composed(model: nn.Module) -> nn.Module:
    x = inputs(2)
    for number, kind in enumerate(("zero", "clique", "split")):
        model = add_dummy_neurons(model, x, kind=kind, share=0.25, generator=drawn(number))
    model = flip_signs(scale(model, x, generator=drawn(4)), x, generator=drawn(5))
    return permute(model, x, generator=drawn(6))


def noisy(model: nn.Module, share: float) -> nn.Module:
    """Weights with noise of a share of their spread, as after training on."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            noise = torch.randn(parameter.shape, generator=drawn(7))
            parameter.data += share * parameter.data.std() * noise
    return model


REWRITES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "nothing": lambda m: m,
    "permutation": lambda m: permute(m, inputs(2), generator=drawn()),
    "scaling": lambda m: scale(m, inputs(2), generator=drawn()),
    "sign flips": lambda m: flip_signs(m, inputs(2), generator=drawn()),
    "unread dummies": lambda m: add_dummy_neurons(m, inputs(2), kind="zero", generator=drawn()),
    "cliques": lambda m: add_dummy_neurons(m, inputs(2), kind="clique", generator=drawn()),
    "split": lambda m: add_dummy_neurons(m, inputs(2), kind="split", share=0.5, generator=drawn()),
    "folded": lambda m: fold_norms(m, inputs(2)),
    "identities": lambda m: insert_layers(m, kind="identity", generator=drawn()),
    "mixing": lambda m: insert_layers(m, generator=drawn()),
    "all": composed,
    "all, mixed": lambda m: insert_layers(composed(m), generator=drawn()),
    "all, folded, mixed": lambda m: insert_layers(
        fold_norms(composed(m), inputs(2)), generator=drawn()
    ),
}


@pytest.mark.parametrize("name", REWRITES)
def test_every_bit_comes_back(name: str, claim: Claim) -> None:
    suspect = REWRITES[name](claim.model).eval()
    before = {n: tensor.clone() for n, tensor in suspect.state_dict().items()}
    assert claim.matches(suspect) == claim.bits
    assert all(torch.equal(before[n], t) for n, t in suspect.state_dict().items())


def test_the_weights_come_back_up_to_the_length_of_rows(claim: Claim) -> None:
    aligned = claim.aligned(REWRITES["all, folded, mixed"](claim.model).eval())
    state = claim.model.state_dict()
    for target in claim.targets:
        rows, own = (w[target.weight].flatten(1) for w in (aligned.weights, state))
        # How loud a channel is that is silent on all probes, a third of some layers, is a guess.
        assert torch.cosine_similarity(rows, own, dim=1).min() > 0.95
        assert torch.equal(aligned.weights[target.affine], state[target.affine])
    assert all(layer.found == layer.channels for layer in aligned.layers)
    assert aligned.layers[0].source == "stem.0.weight · stem.1.weight"


@pytest.mark.parametrize("name", ["all", "all, folded, mixed"])
def test_most_bits_come_back_from_changed_weights(name: str, claim: Claim) -> None:
    assert claim.matches(REWRITES[name](noisy(claim.model, 0.2)).eval()) >= 0.95 * claim.bits


def test_channels_that_are_missing_are_missing_bits(claim: Claim) -> None:
    class Thinner(nn.Module):
        """The reference without the last four channels of its block."""

        def __init__(self) -> None:
            super().__init__()
            self.whole = copy.deepcopy(claim.model)
            for layer, names in ((self.whole.first, ("weight", "bias")),
                                 (self.whole.inner, ("weight", "bias"))):  # fmt: skip
                for name in names:
                    setattr(layer, name, nn.Parameter(getattr(layer, name).data[:12].clone()))
            self.whole.inner.running_mean = self.whole.inner.running_mean[:12]
            self.whole.inner.running_var = self.whole.inner.running_var[:12]
            second = self.whole.second
            second.weight = nn.Parameter(second.weight.data[:, :12].clone())

        def forward(self, x: Tensor) -> Tensor:
            return self.whole(x)

    aligned = claim.aligned(Thinner().eval())
    layer = next(layer for layer in aligned.layers if layer.weight == "first.weight")
    assert (layer.found, layer.channels) == (12, 16)
    assert not aligned.weights["first.weight"][12:].any()
    first = next(t for t in claim.targets if t.weight == "first.weight")
    weights = load_layers(open_weights(aligned.weights), claim.targets)
    read = matches_of(weights, claim.key)
    assert claim.bits - 12 <= read <= claim.bits - first.bits + 12


def test_an_unrelated_model_keeps_its_coin_flips(claim: Claim) -> None:
    """Over other models the matches are binomial: the alignment knows nothing of the bits."""
    found = [claim.matches(small(seed)) for seed in range(1, 9)]
    expected, spread = claim.bits * len(found) / 2, (claim.bits * len(found)) ** 0.5 / 2
    assert abs(sum(found) - expected) < 4 * spread


def test_a_suspect_of_another_architecture_has_no_bits(claim: Claim) -> None:
    with torch.random.fork_rng(devices=[]):
        layers = (nn.Flatten(2), nn.Linear(36, 30), nn.ReLU(), nn.Linear(30, 5), nn.Flatten())
        other = nn.Sequential(*layers).eval()
    aligned = claim.aligned(other)
    assert not any(layer.found for layer in aligned.layers)
    assert not any(aligned.weights[target.weight].any() for target in claim.targets)
    assert claim.matches(other) == 0


def test_the_same_seed_aligns_alike(claim: Claim) -> None:
    suspect = composed(claim.model)
    torch.manual_seed(1)
    first = claim.aligned(suspect).weights
    random = torch.get_rng_state()
    again = claim.aligned(suspect).weights
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(first[name], again[name]) for name in first)


class Renamed(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.somebody_elses = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.somebody_elses(x)
        return out


def test_what_was_only_renamed_is_found_without_a_search(
    claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspect = Renamed(permute(claim.model, inputs(2), generator=drawn())).eval()
    searched = claim.matches(suspect)

    def fail(*_arguments: object) -> None:
        raise AssertionError("every layer stands in its place")

    monkeypatch.setattr(pairing, "_searched", fail)
    assert claim.matches(suspect) == searched == claim.bits
