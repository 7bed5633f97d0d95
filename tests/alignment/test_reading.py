"""Aligned readings of trained networks: lineage where it is, coin flips where it is not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport, Verdict, verify
from modeldeed.alignment.probes import PROBES, probe_inputs
from modeldeed.alignment.reading import read_aligned, twice
from modeldeed.anchor import ProbeInput
from modeldeed.attacks.invariance import (
    add_dummy_neurons,
    flip_signs,
    fold_norms,
    insert_layers,
    permute,
    scale,
)
from modeldeed.data import Dataset, load
from modeldeed.passport.claim import PassportClaim
from modeldeed.statistics import Budget, log_binomial_tail


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 96, 3, padding=1, bias=False), nn.BatchNorm2d(96), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip


def learned(model: nn.Module, data: Dataset, seed: int, passport: Passport | None = None) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(20 if passport is None else 60):
        chosen = torch.randint(len(data.x_train), (32,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(data.x_train[chosen]), data.y_train[chosen])
        if passport is not None:
            loss = loss + passport.signature_loss()
        loss.backward()
        optimizer.step()
    model.eval()


class Trained:
    """A marked network, others that learned the same, and claims of several owners."""

    def __init__(self) -> None:
        data = load("digits")
        self.owner, self.x = Owner(bytes(32), "test"), data.x_train[:4]
        with torch.random.fork_rng(devices=[]):
            self.model = network(0)
            self.before = copy.deepcopy(self.model.state_dict())
            self.passport = Passport.issue(self.model, self.owner, example=self.x)
            learned(self.model, data, 0, self.passport)
            self.others = [network(seed) for seed in range(1, 6)]
            for seed, other in enumerate(self.others):
                learned(other, data, seed)
            owners = [Owner(bytes([number]) * 32, "other") for number in range(1, 5)]
            self.claims = [PassportClaim.of(self.passport, self.owner)] + [
                PassportClaim.of(Passport.issue(network(0), each, example=self.x), each)
                for each in owners
            ]
        self.accuracy = float((self.model(data.x_test).argmax(1) == data.y_test).float().mean())


@pytest.fixture(scope="module")
def trained() -> Trained:
    return Trained()


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


Rewrite = Callable[[nn.Module, Tensor], nn.Module]
REWRITES: dict[str, Rewrite] = {
    "permuted": lambda m, x: permute(m, x, generator=drawn(1)),
    "scaled": lambda m, x: permute(scale(m, x, generator=drawn(1)), x, generator=drawn(2)),
    "flipped": lambda m, x: permute(flip_signs(m, x, generator=drawn(1)), x, generator=drawn(2)),
    "dummies": lambda m, x: add_dummy_neurons(m, x, kind="split", share=0.5, generator=drawn(1)),
    "inserted": lambda m, x: insert_layers(m, generator=drawn(1)),
    "folded": lambda m, x: permute(fold_norms(m, x), x, generator=drawn(1)),
}


@pytest.mark.parametrize("name", REWRITES)
def test_rewritten_copies_read_as_their_ancestor(name: str, trained: Trained) -> None:
    suspect = REWRITES[name](trained.model, trained.x).eval()
    assert trained.accuracy > 0.7
    report = verify(
        suspect, passport=trained.passport, owner=trained.owner, reference=trained.model,
        unmarked=trained.before, align=True,
    )  # fmt: skip
    found = report.aligned
    assert found is not None
    assert found.unmatched is not None
    assert found.unmatched < 0.1 * found.bits
    assert found.matches >= found.bits - found.unmatched - 2
    assert report.verdict is not Verdict.VERIFIED
    assert found.note == "not evidence: no dated deed"
    assert found.decoys.best < found.matches


def test_independent_networks_read_like_coins(trained: Trained) -> None:
    """Twenty-five pairs of a key and a network that learned the same by itself."""
    budget, matches, bits = twice(Budget()), 0, 0
    for claim in trained.claims:
        for number, other in enumerate(trained.others):
            found = read_aligned(
                other, trained.model, claim, budget, base=bytes(32),
                suspect_digest=bytes([number]) * 32, order=None, decoys=0,
            )  # fmt: skip
            assert found.log2_p > -14
            assert not budget.accepts(log_binomial_tail(found.matches, found.bits))
            matches, bits = matches + found.matches, bits + found.bits
    assert log_binomial_tail(matches, bits) > -8
    assert log_binomial_tail(bits - matches, bits) > -8


def test_an_anchor_fixes_what_probes_look_like() -> None:
    class Words(nn.Module):
        """Takes tokens and a mask by name."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 32)
            self.layer, self.norm = nn.Linear(32, 48), nn.LayerNorm(48)

        def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
            return self.norm(self.layer(self.embedding(tokens))) * mask[..., None]

    example = {"tokens": torch.arange(14).reshape(2, 7), "mask": torch.ones(2, 7)}
    passport = Passport.issue(Words(), Owner(bytes(32), "test"), example=example)
    probes = passport.manifest.anchor.probes
    assert probes is not None
    assert [(t.name, t.shape, t.dtype, t.low, t.high) for t in probes.tensors] == [
        ("tokens", (7,), "int64", 0, 13),
        ("mask", (7,), "float32", None, None),
    ]
    made = probe_inputs(bytes(32), probes)
    assert made["tokens"].shape == made["mask"].shape == (PROBES, 7)
    assert sorted(set(made["tokens"].flatten().tolist())) == list(range(14))
    assert b'"probes":{"batch_dim":0' in passport.manifest.anchor.canonical()


def test_inputs_that_cannot_be_described_are_none() -> None:
    tensor = torch.zeros(2, 3)
    strange = tensor.to(torch.complex64)
    for example in ("text", [tensor, 1], {"a": [tensor]}, (tensor, torch.zeros(3, 3)), (),
                    torch.zeros(2, 2**23), torch.tensor(1.0), strange):  # fmt: skip
        assert ProbeInput.of(example) is None
    described = ProbeInput.of((tensor.mT, torch.full((4, 2), 7)), batch_dim=1)
    assert described is not None
    first, second = probe_inputs(bytes(32), described)
    assert (first.shape, second.shape) == ((3, PROBES), (4, PROBES))
    assert set(second.flatten().tolist()) == {7}
    mask = ProbeInput.of(torch.tensor([[True, False]]))
    assert mask is not None
    assert probe_inputs(bytes(32), mask).dtype is torch.bool
