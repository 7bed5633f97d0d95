"""Retrofit: a trained model is marked in few steps, whole or not at all, and stays itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from modeldeed import Owner, Passport, TrainingRule, verify
from modeldeed.errors import OptionError, PlanError
from modeldeed.passport.norms.registry import tracks_statistics
from modeldeed.passport.retrofit.embed import EmbedReport
from modeldeed.passport.retrofit.imitation import imitation
from modeldeed.passport.retrofit.planting import plant
from modeldeed.training import accuracy
from tests.passport.hosts import HOSTS, make

Data = tuple[Tensor, Tensor]


def problem(count: int, seed: int) -> Data:
    """Six classes of images: where a bright bar lies, and which way."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (count,), generator=generator)
    x = torch.randn(count, 1, 6, 6, generator=generator)
    for index, label in enumerate(y.tolist()):
        place = 1 + 2 * (label % 3) - (label % 3 == 2)
        if label < 3:
            x[index, 0, place] += 2.0
        else:
            x[index, 0, :, place] += 2.0
    return x, y


def network(norm: Callable[[int], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), norm(24), nn.ReLU(),
        nn.Conv2d(24, 40, 3, padding=1), norm(40), nn.ReLU(),
        nn.Conv2d(40, 72, 3), norm(72), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(72, 6),
    )  # fmt: skip


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": partial(nn.GroupNorm, 4),
}
ORIGINAL_STEPS = 400


@pytest.fixture(scope="module")
def trained() -> dict[str, nn.Module]:
    """Return trained networks by norm."""
    x, y = problem(1600, 0)
    made = {}
    for name, norm in NORMS.items():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            host = network(norm)
        optimizer = torch.optim.Adam(host.parameters(), lr=3e-3)
        for step in range(ORIGINAL_STEPS):
            at = 64 * step % 1536
            optimizer.zero_grad()
            F.cross_entropy(host(x[at : at + 64]), y[at : at + 64]).backward()
            optimizer.step()
        made[name] = host.eval()
    return made


def batches(data: Data, *, labels: bool = True) -> list[Any]:
    pairs = zip(torch.split(data[0], 64), torch.split(data[1], 64), strict=True)
    return [(x, y) if labels else x for x, y in pairs]


def issued(host: nn.Module, owner: Owner, **options: Any) -> Passport:
    return Passport.issue(host, owner, example=problem(4, 3)[0], **options)


# --- what it reaches ---


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_a_trained_model_is_marked_in_a_twentieth_of_its_steps(
    trained: dict[str, nn.Module], owner: Owner, norm: str, frozen: bool
) -> None:
    host = copy.deepcopy(trained[norm])
    passport = issued(host, owner)
    x, y = problem(1000, 2)
    report = passport.embed(
        batches(problem(1600, 0), labels=False),
        original_steps=ORIGINAL_STEPS,
        evaluate=lambda predict: accuracy(predict, x, y),
        freeze_statistics=frozen,
    )
    assert (report.steps, report.step_fraction, report.samples) == (20, 0.05, 1280)
    assert report.matches == report.bits == 136
    assert report.public_before is not None
    assert report.private_before is not None
    assert report.private_after is not None
    assert report.public_before > 0.9
    assert report.accuracy_cost is not None
    assert report.accuracy_cost <= 0.02  # 1,000 samples: two standard errors of a paired difference
    assert report.private_before < report.private_after - 0.1
    assert report.private_after > report.public_before - 0.12
    assert report.public_after == pytest.approx(accuracy(host.eval(), x, y))
    assert verify(host, passport=passport, owner=owner).verdict.value == "verified"


def test_the_anchor_names_the_trained_weights(trained: Any, owner: Owner) -> None:
    from modeldeed.digests import tensor_root

    host = copy.deepcopy(trained["batch"])
    before = tensor_root(host.state_dict()).hex()
    passport = issued(host, owner)
    passport.embed(batches(problem(256, 0)), steps=2)
    assert passport.manifest.anchor.weights_root == before
    assert tensor_root(host.state_dict()).hex() != before


def test_labels_and_a_loss_of_ones_own_count(trained: Any, owner: Owner) -> None:
    """Wrong labels teach wrong answers; without a loss the same labels are not looked at."""
    x, y = problem(640, 0)
    wrong = list(zip(torch.split(x, 64), torch.split((y + 1) % 6, 64), strict=True))
    lost = {}
    for loss in (None, F.cross_entropy):
        host = copy.deepcopy(trained["batch"])
        issued(host, owner).embed(wrong, steps=30, loss=loss)
        lost[loss] = accuracy(host.eval(), *problem(500, 2))
    assert lost[None] > 0.9
    assert lost[F.cross_entropy] < 0.5


def test_frozen_statistics_stay(trained: Any, owner: Owner) -> None:
    for frozen in (True, False):
        host = copy.deepcopy(trained["batch"])
        before = [m.running_mean.clone() for m in host if tracks_statistics(m)]
        passport = issued(host, owner)
        passport.embed(batches(problem(256, 0)), steps=2, freeze_statistics=frozen)
        after = [m.running_mean for m in host if tracks_statistics(m)]
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert same == [frozen] * 3
        for name, kept in passport.branch.statistics.items():
            assert not torch.equal(kept.mean, host.get_submodule(name).running_mean)


def test_private_statistics_are_those_of_the_final_weights(trained: Any, owner: Owner) -> None:
    host = copy.deepcopy(trained["batch"])
    passport = issued(host, owner)
    data = batches(problem(256, 0), labels=False)
    passport.embed(data, steps=4)
    seen: list[Tensor] = []
    host.train()
    with torch.no_grad():
        call = passport.branch.readings()
        inner = host[0]
        for batch in data:
            seen.append(inner(batch).mean((0, 2, 3)))
        del call
    first = passport.branch.statistics["1"]
    assert torch.allclose(first.mean, torch.stack(seen).mean(0), atol=1e-5)
    assert (first.count, first.momentum) == (4, 0.1)


# --- setting the bits ---


def slow_turn(row: Tensor, towards: Tensor, aim: float) -> Tensor:
    """Turn a row step by step towards a direction until it is near enough."""
    unit, length = towards / towards.norm(), row.norm()
    if float(row @ unit) >= aim * float(length):
        return row
    across = row - (row @ unit) * unit
    across = across / across.norm()
    low, high = 0.0, math.pi
    for _ in range(80):
        angle = (low + high) / 2
        candidate = math.cos(angle) * unit + math.sin(angle) * across
        low, high = (angle, high) if float(candidate @ unit) > aim else (low, angle)
    return length * candidate


def test_planting_turns_each_row_as_little_as_needed(owner: Owner) -> None:
    host, _ = make("batch2d")
    passport = Passport.issue(host, owner, example=HOSTS["batch2d"][1]())
    before = {n: p.detach().clone() for n, p in host.named_parameters()}
    plant(passport.branch, 3.0)
    signs = torch.split(passport.branch.signed_bits(), [12, 20])
    for target, secret, sign in zip(
        passport.branch.targets, passport.branch.secrets, signs, strict=True
    ):
        aim = min(3.0 / math.sqrt(target.fan), 0.3)
        for channel in range(target.channels):
            row = before[target.weight].select(target.axis, channel).flatten().double()
            towards = secret.passports[0].select(target.axis, channel).flatten() * sign[channel]
            got = host.get_parameter(target.weight).select(target.axis, channel).flatten()
            wanted = slow_turn(row, towards.double(), aim)
            assert torch.allclose(got.double(), wanted, atol=1e-5)
    bound = {target.weight for target in passport.branch.targets}
    for name, parameter in host.named_parameters():
        assert torch.equal(parameter, before[name]) != (name in bound)


@pytest.mark.parametrize(
    "name", ["batch2d", "group-plain", "pre-norm", "post-norm", "rms", "batch1d"]
)
def test_all_bits_are_planted_whatever_the_host(owner: Owner, name: str) -> None:
    host, batch = make(name)
    passport = Passport.issue(host, owner, example=batch)
    plant(passport.branch, 5.0)
    signature = passport.signature()
    assert signature.matches == signature.bits
    lengths = [host.get_parameter(t.weight).norm() for t in passport.branch.targets]
    plant(passport.branch, 5.0)
    again = [host.get_parameter(t.weight).norm() for t in passport.branch.targets]
    assert torch.allclose(torch.stack(lengths), torch.stack(again), rtol=1e-5)


def test_zero_rows_and_channels_left_out_are_left_alone(owner: Owner) -> None:
    host, batch = make("batch2d")
    with torch.no_grad():
        host.norm1.weight[4] = 0
        host.conv1.weight[7] = 0
    passport = Passport.issue(host, owner, example=batch)
    left_out = host.conv1.weight[4].clone()
    plant(passport.branch, 5.0)
    assert torch.equal(host.conv1.weight[4], left_out)
    assert not host.conv1.weight[7].any()
    assert all(parameter.isfinite().all() for parameter in host.parameters())


# --- the loss without labels ---


def test_imitation_is_zero_for_the_same_and_knows_its_kinds() -> None:
    logits, field = torch.randn(8, 5), torch.randn(8, 3, 4, 4)
    nested = {"logits": logits, "aux": (field, torch.arange(3))}
    assert float(imitation(nested, nested)) == pytest.approx(0, abs=1e-5)
    moved = imitation({"logits": logits + 3.0, "aux": (field, torch.arange(3))}, nested)
    assert float(moved) == pytest.approx(0, abs=1e-4)  # a constant changes no class
    assert float(imitation(field + 1.0, field)) == pytest.approx(1 / float(field.var(correction=0)))
    single = torch.randn(8, 1)
    assert float(imitation(single + 1.0, single)) > 0.1  # one output is a number, not a class
    p, q = ((t / 4).softmax(1) for t in (logits, logits.flip(0)))
    slow = 16 * float((p * (p / q).log()).sum(1).mean())
    assert float(imitation(logits.flip(0), logits)) == pytest.approx(slow, rel=1e-4)


# --- what stays, and what is undone ---


def test_modes_gradients_and_rates_are_put_back(trained: Any, owner: Owner) -> None:
    host = copy.deepcopy(trained["batch"])
    host.train()
    host[4].eval()
    modes = [module.training for module in host.modules()]
    passport = issued(host, owner)
    optimizer = torch.optim.SGD(host.parameters(), lr=0.01, momentum=0.9)
    told: list[tuple[int, int]] = []
    passport.embed(
        batches(problem(256, 0)),
        steps=3,
        optimizer=optimizer,
        progress=lambda done, planned, seconds: told.append((done, planned)),
    )
    assert [module.training for module in host.modules()] == modes
    assert all(parameter.grad is None for parameter in host.parameters())
    assert [group["lr"] for group in optimizer.param_groups] == [0.01]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert passport.training == TrainingRule()
    assert passport.steps == 0


def broken(data: list[Any]) -> Iterator[Any]:
    yield from data
    raise RuntimeError("the disk is gone")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_failure_leaves_the_model_unmarked(trained: Any, owner: Owner, frozen: bool) -> None:
    host = copy.deepcopy(trained["batch"])
    passport = issued(host, owner)
    before = copy.deepcopy(host.state_dict())
    statistics = copy.deepcopy(passport.branch.statistics)
    loader = broken(batches(problem(256, 0)))
    with pytest.raises(RuntimeError, match="the disk is gone"):
        passport.embed(loader, steps=10, freeze_statistics=frozen)
    assert all(torch.equal(before[name], value) for name, value in host.state_dict().items())
    for name, kept in statistics.items():
        assert torch.equal(passport.branch.statistics[name].mean, kept.mean)
        assert passport.branch.statistics[name].momentum == kept.momentum
    assert not any(module.training for module in host.modules())


def test_a_generator_serves_as_far_as_it_goes(trained: Any, owner: Owner) -> None:
    data = batches(problem(256, 0))
    host = copy.deepcopy(trained["batch"])
    assert issued(host, owner).embed(iter(data), steps=4).matches == 136
    before = copy.deepcopy(host.state_dict())
    with pytest.raises(OptionError, match="ran dry after 4 of 5 batches, as a generator does"):
        issued(host, owner, label="again").embed(iter(data), steps=5)
    assert all(torch.equal(before[name], value) for name, value in host.state_dict().items())


def test_a_data_loader_is_passed_over_again(trained: Any, owner: Owner) -> None:
    x, y = problem(128, 0)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    report = issued(copy.deepcopy(trained["group"]), owner).embed(loader, steps=9)
    assert (report.steps, report.samples) == (9, 288)
    assert issued(copy.deepcopy(trained["group"]), owner).embed(loader).steps == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "at least one step"),
        ({"original_steps": 0}, "original_steps is at least 1"),
        ({}, "no length; say how many steps"),
        ({"steps": 1, "loss": F.cross_entropy}, "has to yield"),
    ],
    ids=("steps", "original steps", "no length", "loss"),
)
def test_what_cannot_be_done_is_refused(
    trained: Any, owner: Owner, options: dict[str, Any], words: str
) -> None:
    host = copy.deepcopy(trained["batch"])
    before = copy.deepcopy(host.state_dict())
    with pytest.raises(OptionError, match=words):
        issued(host, owner).embed(iter(batches(problem(128, 0), labels=False)), **options)
    assert all(torch.equal(before[name], value) for name, value in host.state_dict().items())


def test_a_model_without_gradients_is_refused(trained: Any, owner: Owner) -> None:
    host = copy.deepcopy(trained["batch"])
    host[3].requires_grad_(False)
    with pytest.raises(PlanError, match=r"1 of the 3 weights .* for example 3\.weight"):
        issued(host, owner).embed(batches(problem(128, 0)))


def test_learned_heads_are_trained_too(trained: Any, owner: Owner) -> None:
    passport = issued(copy.deepcopy(trained["batch"]), owner, head="learned")
    before = [p.detach().clone() for p in passport.parameters()]
    passport.embed(batches(problem(256, 0)), steps=3)
    assert not any(torch.equal(a, b) for a, b in zip(before, passport.parameters(), strict=True))


def test_a_transformer_is_marked(owner: Owner) -> None:
    host, _ = make("pre-norm")
    model = nn.Sequential(host, nn.Flatten(), nn.Linear(64, 6))
    x = torch.randn(256, 4, 16, generator=torch.Generator().manual_seed(1))
    report = Passport.issue(model, owner, example=x[:4]).embed(torch.split(x, 64), steps=4)
    assert report.matches == report.bits > 0


def test_the_report_is_frozen_and_derives_its_rates() -> None:
    report = EmbedReport(
        steps=5, original_steps=None, samples=5, seconds=1.0, bits=1, matches=1, median_margin=None
    )
    assert (report.step_fraction, report.accuracy_cost) == (None, None)
    with pytest.raises(AttributeError):
        report.steps = 6  # type: ignore[misc]
