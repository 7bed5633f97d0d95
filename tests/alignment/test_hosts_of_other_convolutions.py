"""Hosts with transposed convolutions and with convolutions of each channel by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed import Owner, Passport
from modeldeed.alignment import Aligned, align
from modeldeed.alignment.depthwise import is_depthwise
from modeldeed.alignment.recording import record, rows_in_front
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

X = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(3))


class Inverted(nn.Module):
    """MobileNetV2 in small: expansion, each channel by itself, projection, addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.start = nn.Conv2d(2, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.expand, self.first = nn.Conv2d(16, 48, 1, bias=False), nn.BatchNorm2d(48)
        self.each, self.second = nn.Conv2d(48, 48, 3, 1, 1, groups=48), nn.BatchNorm2d(48)
        self.project, self.third = nn.Conv2d(48, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.start(self.stem(x)))
        inside = F.relu6(self.second(self.each(F.relu6(self.first(self.expand(x))))))
        x = F.relu6(x + self.third(self.project(inside)))
        y: Tensor = self.classifier(x.mean((2, 3)))
        return y


def upsampling() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.ConvTranspose2d(24, 20, 4, stride=2, padding=1), nn.BatchNorm2d(20), nn.ReLU(),
        nn.ConvTranspose2d(20, 20, 3, padding=1, groups=20), nn.BatchNorm2d(20), nn.ReLU(),
        nn.ConvTranspose2d(20, 16, 3, 2, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 1),
    )  # fmt: skip


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.ConvTranspose2d(24, 20, 3, stride=2, groups=4), nn.ReLU(),
        nn.Conv2d(20, 16, 3, padding=1, groups=4), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 1),
    )  # fmt: skip


HOSTS: dict[str, Callable[[], nn.Module]] = {
    "inverted": Inverted, "upsampling": upsampling, "grouped": grouped
}  # fmt: skip


def made(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HOSTS[name]()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data.uniform_(0.3, 1.5)
                module.bias.data.uniform_(-0.3, 0.3)
                module.running_mean = torch.randn(module.num_features) / 4
                module.running_var = torch.rand(module.num_features) + 0.5
    return model.eval()


class Claim:
    """A marked host and its passport."""

    def __init__(self, name: str) -> None:
        self.name, self.model = name, made(name)
        owner = Owner(bytes(32), "test")
        self.passport = Passport.issue(self.model, owner, example=X)
        noise = torch.randn(32, 2, 8, 8, generator=drawn(9))
        self.passport.embed([X.repeat(8, 1, 1, 1) + 0.3 * noise], steps=3)
        self.model.eval()
        self.key = self.passport.manifest.model_key(owner)
        self.targets = self.passport.manifest.anchor.targets
        self.bits = sum(target.bits for target in self.targets)

    def aligned(self, suspect: nn.Module) -> Aligned:
        return align(suspect, self.model, self.targets, seed=bytes(32), like=X, key=self.key)

    def matches(self, weights: object) -> int:
        opened = open_weights(weights)  # type: ignore[arg-type]
        return matches_of(load_layers(opened, self.targets), self.key)


@pytest.fixture(scope="module", params=HOSTS)
def claim(request: pytest.FixtureRequest) -> Claim:
    return Claim(request.param)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def composed(model: nn.Module) -> nn.Module:
    model = flip_signs(scale(model, X, generator=drawn(1)), X, generator=drawn(2))
    return fold_norms(permute(model, X, generator=drawn(3)), X)


REWRITES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "nothing": lambda m: m,
    "permuted": lambda m: permute(m, X, generator=drawn()),
    "scaled": lambda m: scale(m, X, generator=drawn()),
    "flipped": lambda m: flip_signs(m, X, generator=drawn()),
    "folded": lambda m: fold_norms(m, X),
    "unread": lambda m: add_dummy_neurons(m, X, kind="zero", generator=drawn()),
    "cliques": lambda m: add_dummy_neurons(m, X, kind="clique", generator=drawn()),
    "split": lambda m: add_dummy_neurons(m, X, kind="split", share=0.5, generator=drawn()),
    "inserted": lambda m: insert_layers(m, generator=drawn()),
    "all": lambda m: insert_layers(composed(m), generator=drawn(4)),
}


@pytest.mark.parametrize("name", REWRITES)
def test_every_bit_comes_back(name: str, claim: Claim) -> None:
    if claim.name == "grouped" and name not in ("nothing", "folded", "inserted"):
        pytest.skip("channels that a grouped convolution reads stay in their order")
    suspect = REWRITES[name](claim.model).eval()
    torch.testing.assert_close(suspect(X), claim.model(X), rtol=1e-4, atol=1e-4)
    own = claim.matches(claim.model)
    assert own == claim.bits
    assert claim.matches(claim.aligned(suspect).weights) == own


def test_permutation_takes_the_bits_of_every_layer(claim: Claim) -> None:
    """What is read directly afterwards are coins, in layers between others as well."""
    if claim.name == "grouped":
        pytest.skip("channels that a grouped convolution reads stay in their order")
    moved = permute(claim.model, X, generator=drawn()).state_dict()
    stored = claim.model.state_dict()
    for target in claim.targets:
        assert not torch.equal(moved[target.weight], stored[target.weight]), target.weight
    assert claim.matches(moved) < 0.8 * claim.bits


def test_other_networks_are_coins(claim: Claim) -> None:
    found = [claim.matches(claim.aligned(made(claim.name, seed)).weights) for seed in range(1, 9)]
    expected, spread = claim.bits * len(found) / 2, (claim.bits * len(found)) ** 0.5 / 2
    assert sum(found) < expected + 4 * spread


def test_which_layers_carry_bits() -> None:
    """Of a transposed convolution the outputs, along the second dimension of its weight."""
    targets = {t.weight: (t.axis, t.side) for t in Claim("upsampling").targets}
    assert targets == {
        "0.weight": (0, "rows"), "3.weight": (1, "rows"), "6.weight": (0, "rows"),
        "9.weight": (1, "rows"),
    }  # fmt: skip


def test_a_transposed_convolution_is_recorded_by_its_rows() -> None:
    layer = nn.ConvTranspose2d(6, 8, 3, groups=2)
    (found,) = record(layer, torch.randn(2, 6, 4, 4))
    assert found.transposed
    assert found.weight.shape == (8, 3, 3, 3)
    # Row 5 is the second of the second group, which reads channels 3 to 5.
    assert torch.equal(found.weight[5], layer.weight[3:, 1])
    assert torch.equal(found.stored(found.weight), layer.weight)
    assert torch.equal(rows_in_front(found.weight, 2), layer.weight)
    assert not is_depthwise(found)


def test_channels_that_no_probe_wakes_are_told_by_their_kernels() -> None:
    claim = Claim("upsampling")
    inner = claim.model[4]  # type: ignore[index]
    inner.bias.data[:4] = -100.0
    suspect = permute(claim.model, X, generator=drawn())
    each = next(layer for layer in claim.aligned(suspect).layers if layer.weight == "6.weight")
    assert each.found == each.channels == 20
    assert claim.matches(claim.aligned(suspect).weights) == claim.matches(claim.model)
