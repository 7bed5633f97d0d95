"""The factors of a coloured reading: what they hold, and how they are measured."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Passport, verify
from modeldeed.anchor import Target
from modeldeed.passport.evidence.coloured import seen_rows
from modeldeed.passport.evidence.factors import factors_of, published_probes
from tests.passport.forging import OWNER
from tests.passport.hosts import images, make, tokens, volume

LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "linear": (lambda: nn.Linear(16, 12), tokens),
    "padded": (lambda: nn.Conv2d(2, 12, 3, padding=1), images),
    "strided": (lambda: nn.Conv2d(2, 12, (3, 2), stride=2, padding=(0, 1)), images),
    "dilated": (lambda: nn.Conv2d(2, 12, 3, dilation=2, padding=2), images),
    "grouped": (lambda: nn.Conv2d(2, 12, 5, groups=2, padding="same"), images),
    "circular": (lambda: nn.Conv2d(2, 12, 3, padding=1, padding_mode="circular"), images),
    "one dimension": (lambda: nn.Conv1d(2, 12, 5), lambda: volume(1)),
    "three dimensions": (lambda: nn.Conv3d(2, 12, 2), lambda: volume(3)),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 12, 3, padding=1)),
        images,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rows_seen_through_a_factor_are_the_layers_centered_outputs(name: str) -> None:
    build, batch = LAYERS[name]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layer = build()
    x = batch()
    linear = isinstance(layer, nn.Linear)
    with torch.no_grad():
        out = layer(x)
    outputs = out.flatten(0, -2) if linear else out.movedim(1, -1).flatten(0, -2)
    expected = (outputs - outputs.mean(0)).T
    weight = "0.weight" if name != "weight norm" else "0.parametrizations.weight.original1"
    host = nn.Sequential(layer)
    shape = tuple(host.get_parameter(weight).shape)
    target = Target(
        norm="n", kind="batch", channels=12, affine=None, weight=weight, shape=shape, axis=0,
        side="rows",
    )  # fmt: skip
    (factor,) = factors_of(host, [target], x, samples=10**6).values()
    assert factor.dtype == torch.int8
    assert factor.shape == (getattr(layer, "groups", 1), len(outputs), target.fan)
    found = seen_rows(host.get_parameter(weight).detach(), target, factor)
    # Each of the D products is off by at most half a step of 8 bits, and the whole by a scale.
    found = found * (expected.norm(dim=1) / found.norm(dim=1))[:, None]
    assert float((found - expected).abs().max() / expected.abs().max()) < 0.03


def test_few_positions_are_drawn_by_a_published_rule() -> None:
    host, x = make("batch2d")
    targets = Passport.plan(host, example=x).targets
    first, again = (factors_of(host, targets, x, samples=40) for _ in range(2))
    assert {o: f.shape for o, f in first.items()} == {0: (1, 40, 18), 1: (1, 40, 108)}
    assert all(torch.equal(first[o], again[o]) for o in first)


def test_measuring_leaves_the_host_as_it_was() -> None:
    host, x = make("batch2d")
    host.train()
    before = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    torch.manual_seed(3)
    Passport.issue(host, OWNER, example=x, reading="coloured", probes=x)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert host.training
    assert all(torch.equal(host.state_dict()[name], t) for name, t in before.items())
    assert not any(module._forward_pre_hooks for module in host.modules())


def test_published_probes_are_the_same_for_everybody_and_like_the_example() -> None:
    example = 5 + 2 * torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    probes, again = published_probes(example), published_probes(example.clone())
    assert torch.equal(probes, again)
    assert probes.shape == (128, 3, 32, 32)
    assert float(probes.mean()) == pytest.approx(5, abs=0.3)
    assert float(probes.std()) == pytest.approx(2, abs=0.1)
    neighbors = probes[..., 1:] - probes[..., :-1]
    assert float(neighbors.std()) < 0.7 * float(probes.std())  # noise would give √2
    assert published_probes(torch.zeros(2, 7)).shape == (128, 7)


def test_layers_without_a_factor_are_read_from_their_weights(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        host = nn.Sequential(
            nn.Conv2d(2, 80, 3), nn.BatchNorm2d(80), nn.ConvTranspose2d(80, 80, 3),
            nn.BatchNorm2d(80),
        )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        passport = Passport.issue(host, OWNER, example=images(), reading="coloured")
    assert "read from their weights, for want of a coloured reading: 3" in caplog.text
    assert set(passport.branch.factors) == {0}
    optimizer = torch.optim.Adam(host.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    evidence = verify(host, passport=passport, owner=OWNER).signature
    assert [layer.matches for layer in evidence.layers] == [80, 80]
