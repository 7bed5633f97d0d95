"""Plans: the canonical list, choices, refusals."""

from __future__ import annotations

import copy
import re
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport, models
from modeldeed.errors import OptionError, PlanError
from modeldeed.passport import register_norm
from modeldeed.passport.norms.registry import kind_of
from tests.passport.hosts import HOSTS, ConvHost, digits_like, images, make

OWNER = Owner(bytes(32))


@pytest.mark.parametrize("name", list(HOSTS))
def test_every_norm_is_planned_or_has_a_reason(name: str) -> None:
    host, x = make(name)
    plan = Passport.plan(host, example=x[:2])
    norms = {n for n, m in host.named_modules() if kind_of(m) is not None}
    listed = [t.norm for t in plan.targets] + [e.norm for e in plan.left_out]
    assert sorted(listed) == sorted(norms)
    assert all(entry.reason for entry in plan.left_out)
    assert plan.bits > 0


def test_the_canonical_list_is_in_order_of_registration() -> None:
    host = models.resnet_small()
    order = [n for n, m in host.named_modules() if kind_of(m) is not None]
    plan = Passport.plan(host, example=digits_like())
    assert [t.norm for t in plan.targets] == order
    assert plan.bits == 720


@pytest.mark.parametrize(
    "chosen",
    [
        "stem.norm",
        "stem.*",
        re.compile(r"stem\.\w+"),
        lambda name, _: name.startswith("stem"),
        ["stem.norm", "stem.n*"],
    ],
)
def test_targets_take_names_globs_regexes_and_predicates(chosen: object) -> None:
    host, x = models.resnet_small(), digits_like()
    plan = Passport.plan(host, example=x, targets=chosen)
    assert [t.norm for t in plan.targets] == ["stem.norm"]
    assert len(plan.excluded) == 11
    rest = Passport.plan(host, example=x, exclude=chosen)
    assert rest.excluded == ("stem.norm",)


def test_a_choice_that_fits_nothing_is_named() -> None:
    host, x = models.resnet_small(), digits_like()
    for choice in ({"targets": "stem.nrm"}, {"exclude": re.compile("x.*")}):
        with pytest.raises(
            OptionError, match=f"{next(iter(choice))}: .* fits none of the host's 12"
        ):
            Passport.plan(host, example=x, **choice)


def test_excluded_norms_stand_in_the_anchor_and_change_every_bit() -> None:
    host, x = make("batch2d")
    whole = Passport.issue(host, OWNER, example=x)
    part = Passport.issue(host, OWNER, example=x, exclude="norm2")
    assert part.manifest.anchor.excluded == ("norm2",)
    assert part._key != whole._key


def test_channels_with_zero_scale_are_left_out() -> None:
    host, x = make("batch2d")
    with torch.no_grad():
        host.norm1.weight[3] = 0
        host.norm1.weight[7] = 1e-5
        host.norm2.weight.zero_()  # zero-initialized residual
    plan = Passport.plan(host, example=x)
    assert [t.left_out for t in plan.targets] == [(3, 7)]
    assert plan.bits == 10
    assert "scale is zero in every channel" in plan.left_out[0].reason


def test_rank_is_numerical() -> None:
    host, x = make("batch2d")
    with torch.no_grad():
        host.conv2.weight[10:] = host.conv2.weight[:10]
    ranks = {e.target.norm: e.rank for e in Passport.plan(host, example=x).planned}
    assert ranks == {"norm1": 12, "norm2": 10}


def test_a_host_without_usable_norms_is_pointed_to_the_other_marks() -> None:
    host = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with pytest.raises(PlanError, match="trigger set and a plug-in"):
        Passport.issue(host, OWNER, example=torch.randn(2, 4))


def test_multi_dimensional_layer_norm_is_refused_with_a_reason() -> None:
    host = ConvHost(lambda c: nn.LayerNorm([c, 6, 6]))
    left = Passport.plan(host, example=images()).left_out
    assert all("normalizes over 3 dimensions" in e.reason for e in left)


class Activated(nn.BatchNorm2d):
    """A norm that does more than its parent."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x))


class Renamed(nn.BatchNorm2d):
    """A norm that does what its parent does."""


def test_subclasses_are_followed_unless_they_override_forward() -> None:
    assert kind_of(Renamed(4)).name == "batch"
    assert kind_of(Activated(4)) is None
    with pytest.raises(PlanError, match=r"norm1 \(Activated\): .*register_norm"):
        Passport.issue(ConvHost(Activated), OWNER, example=images())


def test_registering_a_kind_makes_it_usable() -> None:
    class Doubled(Activated):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(2 * x)

    @register_norm("doubled", Doubled, channels=lambda norm: norm.num_features)
    def apply(norm, x, scale, bias, statistics):
        base = kind_of(Renamed(1)).apply
        return torch.relu(base(norm, 2 * x, scale, bias, statistics))

    host = ConvHost(Doubled)
    assert (
        Passport.issue(host, OWNER, example=images()).manifest.anchor.targets[0].kind == "doubled"
    )
    with pytest.raises(OptionError, match="registered as 'doubled' already"):
        register_norm("again", Doubled, channels=lambda norm: 1)


def test_an_example_that_does_not_fit_is_told_with_its_shape() -> None:
    host, _ = make("batch2d")
    told = r"failed on `example` \(shape \(2, 3, 6, 6\), float32\): RuntimeError: .*channels"
    for call in (Passport.plan, partial(Passport.issue, owner=OWNER)):
        with pytest.raises(PlanError, match=told):
            call(host, example=torch.randn(2, 3, 6, 6))


@pytest.mark.parametrize(
    ("model", "example", "told"),
    [
        ("resnet18", images(), "model is a torch.nn.Module, got str"),
        (ConvHost, images(), "got the class ConvHost; make an instance of it"),
        (ConvHost(nn.BatchNorm2d), "an image", "a batch of the host's input .* got str"),
        (ConvHost(nn.BatchNorm2d), {}, "got nothing"),
        (ConvHost(nn.BatchNorm2d), images().numpy(), "got ndarray"),
    ],
)
def test_arguments_of_a_wrong_type_are_named(model: object, example: object, told: str) -> None:
    for call in (Passport.plan, partial(Passport.issue, owner=OWNER)):
        with pytest.raises(OptionError, match=told):
            call(model, example=example)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_hosts_that_cannot_be_followed_are_refused() -> None:
    host, x = make("batch2d")
    with pytest.raises(PlanError, match="meta device"):
        Passport.plan(copy.deepcopy(host).to("meta"), example=x)
    with pytest.raises(PlanError, match=r"model inside \(model._orig_mod\)"):
        Passport.plan(torch.compile(host), example=x)
    with pytest.raises(PlanError, match=r"model inside \(model.module\)"):
        Passport.plan(nn.DataParallel(host), example=x)
    with pytest.raises(PlanError, match="TorchScript"):
        Passport.plan(torch.jit.trace(host.eval(), x), example=x)


def test_layers_that_look_like_norms_are_never_skipped_silently() -> None:
    class ScaledLayerNorm(nn.LayerNorm):  # a norm by its name, planned
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    class Unscaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / x.norm(dim=-1, keepdim=True)

    class UnitNorm(Unscaled):
        pass

    class TwoScaleNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.gain = nn.Parameter(torch.ones(12)), nn.Parameter(torch.ones(12))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight * self.gain

    host = nn.Sequential(
        nn.Linear(12, 12), nn.LayerNorm(12), nn.Linear(12, 12), UnitNorm(), TwoScaleNorm(),
        nn.Unflatten(1, (12, 1)), nn.LocalResponseNorm(2), nn.Flatten(), nn.Linear(12, 12),
        ScaledLayerNorm(12), nn.Linear(12, 3),
    )  # fmt: skip
    plan = Passport.plan(host, example=torch.randn(4, 12))
    assert [target.norm for target in plan.targets] == ["1", "9"]
    assert {left.norm: left.reason.split(";")[0] for left in plan.left_out} == {
        "3": "its class is not registered and has no scale of its own",
        "4": "its class is not registered, nor of a known structure",
        "6": "its class is not registered and has no scale of its own",
    }
