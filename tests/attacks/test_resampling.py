"""Low-variance resampling against slow arithmetic: what is kept, what goes, and what comes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modeldeed.attacks import low_variance_resampling
from modeldeed.errors import OptionError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat_inputs(rank: int = 4, width: int = 12, count: int = 300, offset: float = 3.0) -> Tensor:
    """Vectors that vary in ``rank`` directions around a mean outside of them."""
    random = generator(1)
    return torch.randn(count, rank, generator=random) @ torch.randn(
        rank, width, generator=random
    ) + offset * torch.randn(width, generator=random)


def linear(width: int = 12) -> nn.Linear:
    layer = nn.Linear(width, 5, bias=False)
    torch.nn.init.normal_(layer.weight, generator=generator(2))
    return layer


@pytest.mark.parametrize("fill", ["zero", "noise"])
def test_what_the_inputs_excite_stays_and_the_rest_goes(fill: str) -> None:
    x, layer = flat_inputs(), linear()
    changed = low_variance_resampling(
        nn.Sequential(layer), x, energy=1 - 1e-6, fill=fill, generator=generator()
    )
    # Outputs stay, the mean's too, though the mean lies outside of what varies ...
    torch.testing.assert_close(changed(x), layer(x), rtol=1e-4, atol=1e-4)
    # ... and outside of the inputs' five directions nothing is left, or something else.
    basis = torch.linalg.svd(x.double(), full_matrices=True)[2][5:]
    before = layer.weight.double() @ basis.T
    after = changed[0].weight.double() @ basis.T
    assert before.norm() > 2
    if fill == "zero":
        assert after.norm() < 1e-4
    else:
        torch.testing.assert_close(after.norm(dim=1), before.norm(dim=1), rtol=1e-4, atol=0)
        cosine = (after * before).sum(1) / before.norm(dim=1).square()
        assert cosine.abs().max() < 0.95


@pytest.mark.parametrize("energy", [0.3, 0.6, 0.9, 0.99])
def test_as_many_directions_are_kept_as_the_energy_needs(energy: float) -> None:
    x, layer = flat_inputs(rank=12, offset=0.0), linear()
    changed = low_variance_resampling(nn.Sequential(layer), x, energy=energy, generator=generator())
    centered = x.double() - x.double().mean(0)
    _, s, v = torch.linalg.svd(centered, full_matrices=False)
    shares = s.square() / s.square().sum()
    needed, reached = 0, 0.0
    while reached < energy:
        reached += float(shares[needed])
        needed += 1
    kept = torch.cat([v[:needed], x.double().mean(0, keepdim=True)])
    basis = torch.linalg.qr(kept.T)[0]
    expected = layer.weight.double() @ basis @ basis.T
    torch.testing.assert_close(changed[0].weight.double(), expected, rtol=1e-3, atol=1e-4)


def slow_patches(conv: nn.Conv2d, x: Tensor) -> list[Tensor]:
    """Patches of each group ``(n, D)``, by the layer's own arithmetic on unit kernels."""
    width = conv.in_channels // conv.groups
    found = []
    for group in range(conv.groups):
        probe = nn.Conv2d(
            width, width * conv.kernel_size[0] * conv.kernel_size[1], conv.kernel_size,
            stride=conv.stride, padding=conv.padding, dilation=conv.dilation,
            padding_mode=conv.padding_mode, bias=False,
        )  # fmt: skip
        probe.weight.data = torch.eye(probe.out_channels).reshape(probe.weight.shape)
        with torch.no_grad():
            y = probe(x[:, group * width : (group + 1) * width])
        found.append(y.permute(0, 2, 3, 1).flatten(0, 2))
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": "same", "padding_mode": "reflect", "dilation": 2},
        {"groups": 2, "padding": 1},
        {"groups": 4},
    ],
    ids=str,
)
def test_a_convolution_is_the_linear_layer_of_its_patches(options: dict) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, bias=False, **options)
    x = torch.rand(6, 4, 9, 9) ** 3
    changed = low_variance_resampling(nn.Sequential(conv), x, energy=0.7, generator=generator())[
        0
    ].weight
    rows = conv.out_channels // conv.groups
    for group, patches in enumerate(slow_patches(conv, x)):
        own = slice(group * rows, (group + 1) * rows)
        twin = nn.Linear(patches.shape[1], rows, bias=False)
        twin.weight.data = conv.weight.data[own].flatten(1)
        expected = low_variance_resampling(
            nn.Sequential(twin), patches, energy=0.7, generator=generator()
        )[0].weight
        torch.testing.assert_close(changed[own].flatten(1), expected, rtol=1e-3, atol=1e-4)
        assert (expected - twin.weight).norm() > 0.1 * twin.weight.norm()


def test_a_layer_that_is_never_reached_stays() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = linear(), linear(7)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model = Spare()
    changed = low_variance_resampling(model, flat_inputs(), energy=0.5, generator=generator())
    assert torch.equal(changed.spare.weight, model.spare.weight)
    assert not torch.equal(changed.used.weight, model.used.weight)


def test_constant_inputs_keep_their_output() -> None:
    x, layer = torch.ones(10, 12), linear()
    changed = low_variance_resampling(nn.Sequential(layer), x, generator=generator())
    torch.testing.assert_close(changed(x), layer(x))


def test_running_statistics_are_those_of_the_changed_model_on_the_samples() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.9), nn.Flatten())
    x = torch.rand(140, 2, 6, 6)  # two pieces of 70
    changed = low_variance_resampling(model, x, energy=0.6, fill="noise", generator=generator())
    y = changed[0](x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(changed[1].running_mean, y.mean(1))
    torch.testing.assert_close(changed[1].running_var, y.var(1), rtol=0.02, atol=0)
    assert not torch.allclose(model[1].running_mean, changed[1].running_mean)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"energy": 0.0}, "energy is a share"),
        ({"energy": 1.1}, "energy is a share"),
        ({"energy": float("nan")}, "energy is a share"),
        ({"fill": "ones"}, "fill is 'zero' or 'noise'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        low_variance_resampling(
            nn.Sequential(linear()), flat_inputs(), generator=generator(), **options
        )


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(OptionError, match="at least 2 inputs, got 1"):
        low_variance_resampling(
            nn.Sequential(linear()), flat_inputs(count=1), generator=generator()
        )
