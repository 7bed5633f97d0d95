"""Weights that are computed, tied, grouped or shared: bound where a bit keeps its meaning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from modeldeed import Owner, Passport
from modeldeed.errors import HostError
from tests.passport.host.test_bindings import bound, reasons
from tests.passport.hosts import ConvHost, images, tokens

OWNER = Owner(bytes(range(32)), "tests")


def parametrized(wrap: Callable[[nn.Module], object], norm: Callable = nn.BatchNorm2d) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = ConvHost(norm)
        with torch.no_grad():
            for layer in (host.conv1, host.conv2):
                wrap(layer)
    return host


def direction(weight: Tensor, axis: int) -> Tensor:
    return F.normalize(weight.detach().movedim(axis, 0).flatten(1))


def test_weight_norm_binds_the_direction() -> None:
    host = parametrized(parametrizations.weight_norm)
    assert bound(host, images()) == {
        "norm1": ("conv1.parametrizations.weight.original1", 0, "rows"),
        "norm2": ("conv2.parametrizations.weight.original1", 0, "rows"),
    }
    stored = host.conv1.parametrizations.weight.original1
    torch.testing.assert_close(direction(stored, 0), direction(host.conv1.weight, 0))
    passport = Passport.issue(host, OWNER, example=images())
    passport.signature_loss().backward()
    assert float(stored.grad.abs().sum()) > 0


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weight_norm_of_the_older_kind_binds_the_direction() -> None:
    host = parametrized(nn.utils.weight_norm)
    assert bound(host, images()) == {
        "norm1": ("conv1.weight_v", 0, "rows"), "norm2": ("conv2.weight_v", 0, "rows"),
    }  # fmt: skip


def test_weight_norm_over_the_whole_tensor_keeps_both_directions() -> None:
    host = parametrized(lambda layer: parametrizations.weight_norm(layer, dim=None))
    assert set(bound(host, images())) == {"norm1", "norm2"}


def test_weight_norm_along_the_inputs_leaves_the_rows_no_direction() -> None:
    host = parametrized(lambda layer: parametrizations.weight_norm(layer, dim=1))
    # norm1 is bound to the columns of what reads it: those do keep theirs.
    assert bound(host, images()) == {
        "norm1": ("conv2.parametrizations.weight.original1", 1, "columns")
    }
    assert "keep no direction" in reasons(host, images())["norm2"]


def test_fused_weight_norm_along_the_inputs_leaves_the_rows_no_direction() -> None:
    def host(dim: int) -> nn.Module:
        layer = parametrizations.weight_norm(nn.Linear(12, 16), dim=dim)
        return nn.Sequential(layer, nn.LayerNorm(16), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3))

    x = torch.randn(4, 12)
    assert bound(host(0), x) == {"1": ("0.parametrizations.weight.original1", 0, "rows")}
    assert bound(host(1), x) == {"1": ("2.weight", 1, "columns")}


@pytest.mark.parametrize("wrap", [parametrizations.spectral_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_spectral_norm_divides_by_one_number(wrap: Callable[[nn.Module], object]) -> None:
    host = parametrized(wrap)
    older = wrap is nn.utils.spectral_norm
    suffix = "weight_orig" if older else "parametrizations.weight.original"
    assert bound(host, images()) == {
        "norm1": (f"conv1.{suffix}", 0, "rows"), "norm2": (f"conv2.{suffix}", 0, "rows"),
    }  # fmt: skip


class EqualizedRate(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * weight[0].numel() ** -0.5


def test_a_constant_factor_changes_no_direction() -> None:
    host = parametrized(
        lambda layer: nn.utils.parametrize.register_parametrization(
            layer, "weight", EqualizedRate()
        )
    )
    assert set(bound(host, images())) == {"norm1", "norm2"}


class Standardized(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight - weight.mean((1, 2, 3), keepdim=True)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Parameter(torch.randn(1, 2, 3, 3))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.other


def test_other_parametrizations_are_refused_with_the_reason() -> None:
    def standardized(layer: nn.Module) -> None:
        nn.utils.parametrize.register_parametrization(layer, "weight", Standardized())

    for wrap in (parametrizations.orthogonal, standardized):
        host = parametrized(wrap)
        assert bound(host, images()) == {}
        told = reasons(host, images())["norm1"]
        assert "keep no direction along any dimension of conv1.parametrizations.weight" in told


def test_a_weight_of_two_parameters_is_not_bound() -> None:
    host = ConvHost(nn.BatchNorm2d)
    nn.utils.parametrize.register_parametrization(host.conv1, "weight", Mixed())
    assert bound(host, images())["norm1"] == ("conv2.weight", 1, "columns")  # what reads it
    host.act = nn.Identity()
    host.conv2 = nn.Conv2d(12, 20, 3, padding=1, groups=2)  # keeps no columns
    assert "computed from several parameters: conv1.parametr" in reasons(host, images())["norm1"]


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def test_a_parametrized_scale_is_refused() -> None:
    host = ConvHost(nn.BatchNorm2d)
    nn.utils.parametrize.register_parametrization(host.norm1, "weight", Doubled())
    assert "not stored as norm1.weight" in reasons(host, images())["norm1"]


def up(**options: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.ConvTranspose2d(8, 8, 3, **options), nn.BatchNorm2d(8), nn.Flatten(),
        nn.Linear(288, 3),
    )  # fmt: skip


def test_transposed_convolutions() -> None:
    x = images()
    assert bound(up(), x) == {"2": ("1.weight", 1, "rows")}
    assert bound(up(groups=8), x) == {"2": ("1.weight", 0, "rows")}
    told = reasons(up(groups=2), x)["2"]
    assert "keep no direction along any dimension of 1.weight" in told


def test_depthwise_weights_serve_what_reads_and_what_is_read() -> None:
    depthwise = nn.Conv2d(12, 12, 3, groups=12)
    after = nn.Sequential(nn.Conv2d(2, 12, 1), depthwise, nn.BatchNorm2d(12), nn.Conv2d(12, 3, 1))
    assert bound(after, images()) == {"2": ("1.weight", 0, "rows")}
    before = nn.Sequential(nn.Conv2d(2, 12, 1), nn.MaxPool2d(2, 1), nn.BatchNorm2d(12), depthwise,
                           nn.Conv2d(12, 3, 1))  # fmt: skip
    assert bound(before, images()) == {"2": ("3.weight", 0, "columns")}


def test_grouped_columns_are_refused() -> None:
    host = nn.Sequential(nn.MaxPool2d(2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 8, 3, groups=2),
                         nn.Conv2d(8, 3, 1))  # fmt: skip
    assert "no single weight fits" in reasons(host, images())["1"]


def test_einsum_and_products_from_the_left() -> None:
    class Left(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.randn(12, 16)), nn.Parameter(torch.randn(20, 12))
            self.norm1, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(20)
            self.fc = nn.Linear(20, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm1(torch.einsum("oi,bti->bto", self.a, x))
            x = self.norm2((self.b @ x.transpose(1, 2)).transpose(1, 2))
            return self.fc(x)

    plan = bound(Left(), tokens())
    assert plan == {"norm1": ("a", 0, "rows"), "norm2": ("b", 0, "rows")}


def test_a_norm_shared_by_two_places_is_bound_once_and_counted() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(16, 16), nn.Linear(16, 24), nn.Linear(24, 3)
            self.norm = nn.LayerNorm(16)
            self.again = self.norm  # a second name of the same layer

        def forward(self, x: Tensor) -> Tensor:
            x = x + torch.relu(self.fc1(self.norm(x)))
            return self.fc3(torch.relu(self.fc2(self.again(x))))

    host, x = Twice(), tokens()
    (entry,) = Passport.plan(host, example=x).planned
    assert (entry.target.norm, entry.calls) == ("norm", 2)
    assert (entry.target.weight, entry.target.side) == ("fc2.weight", "columns")
    passport = Passport.issue(host, OWNER, example=x)
    host.again = nn.Identity()
    with pytest.raises(HostError, match="norm ran 1 times in the private call, 2 when"):
        passport.private(x)


def test_tied_weights_carry_one_passport() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(30, 16)
            self.fc, self.norm, self.head = nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 30)
            self.head.weight = self.embed.weight

        def forward(self, words: Tensor) -> Tensor:
            return self.head(self.norm(self.fc(self.embed(words))))

    host, words = Tied(), torch.arange(12).reshape(3, 4)
    assert bound(host, words) == {"norm": ("fc.weight", 0, "rows")}
    host.fc.weight = nn.Parameter(host.fc.weight.detach())
    other = nn.Linear(16, 16)
    other.weight = host.fc.weight
    host.other = other
    assert Passport.plan(host, example=words).planned[0].ties == ("other.weight",)
    Passport.issue(host, OWNER, example=words)


def test_returning_a_hidden_state_takes_no_weight_away() -> None:
    class WithFeatures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.fc1, self.fc2 = nn.LayerNorm(16), nn.Linear(16, 24), nn.Linear(24, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            features = self.fc1(self.norm(x))
            return self.fc2(torch.relu(features)), features

    assert bound(WithFeatures(), tokens()) == {"norm": ("fc1.weight", 1, "columns")}


@pytest.mark.parametrize("wrap", [parametrizations.spectral_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_looking_at_a_spectrally_normalized_layer_in_train_mode_changes_nothing(
    wrap: Callable[[nn.Module], object],
) -> None:
    """Reading such a weight is a step of a power iteration: a plan must not read it."""
    host = parametrized(wrap).train()
    kept = {name: buffer.clone() for name, buffer in host.named_buffers()}
    Passport.plan(host, example=images())
    Passport.issue(host, OWNER, example=images())
    assert all(torch.equal(kept[name], buffer) for name, buffer in host.named_buffers())
