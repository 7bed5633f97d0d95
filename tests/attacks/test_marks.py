"""What attacks leave of marks that were made by this package, where that is what they are for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from modeldeed import Owner, Passport
from modeldeed.attacks import (
    AttackData,
    Overwrite,
    RemoveComponents,
    SensitivityResampling,
    remove_components,
    sensitivity_resampling,
)
from modeldeed.attacks.sensitivity import _least
from modeldeed.data import Dataset
from modeldeed.training import accuracy

Marked = tuple[nn.Module, Passport]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def marked(trained: nn.Module, digits: Dataset, owner: Owner, rows: str) -> Marked:
    host = copy.deepcopy(trained)
    x = digits.x_train
    passport = Passport.issue(host, owner, example=x[:8], rows=rows, label=rows)
    passport.embed([x[i : i + 32] for i in range(0, 600, 32)], steps=19)
    return host.eval(), passport


@pytest.fixture(scope="module")
def keyed(trained: nn.Module, digits: Dataset, owner: Owner) -> Marked:
    return marked(trained, digits, owner, "keyed")


def left(passport: Passport, suspect: nn.Module) -> float:
    """Share of the bits that read as claimed in a suspect."""
    host = passport.host
    before = copy.deepcopy(host.state_dict())
    try:
        host.load_state_dict(suspect.state_dict())
        found = passport.signature()
        return found.matches / found.bits
    finally:
        host.load_state_dict(before)


def test_shared_passports_fall_with_the_leading_component_and_keyed_ones_stand(
    trained: nn.Module, digits: Dataset, owner: Owner, keyed: Marked
) -> None:
    shared = marked(trained, digits, owner, "shared")
    found = {}
    for name, (host, passport) in (("shared", shared), ("keyed", keyed)):
        assert left(passport, host) > 0.95
        changed = remove_components(host, digits.x_train[:140], components=1)
        found[name] = left(passport, changed)
    assert found["keyed"] > 0.9
    assert found["shared"] < found["keyed"] - 0.15


def test_a_component_is_taken_off_or_turned_round(trained: nn.Module, digits: Dataset) -> None:
    x = digits.x_train[:32]
    before = trained.conv2.weight.detach().flatten(1).double()
    values = torch.linalg.svdvals(before)
    gone = remove_components(trained, x, components=2).conv2.weight.detach().flatten(1).double()
    torch.testing.assert_close(torch.linalg.svdvals(gone)[:-2], values[2:], rtol=1e-4, atol=1e-5)
    turned = remove_components(trained, x, components=1, share=2.0).conv2.weight.detach()
    torch.testing.assert_close(
        torch.linalg.svdvals(turned.flatten(1).double()), values, rtol=1e-4, atol=1e-5
    )
    changed = RemoveComponents().apply(trained, AttackData(digits), generator())
    assert torch.equal(changed.fc.weight, trained.fc.weight)


@pytest.mark.parametrize("times", [1, 2])
def test_overwriting_embeds_other_marks_and_leaves_the_first(
    times: int, digits: Dataset, keyed: Marked
) -> None:
    host, passport = keyed
    attack = Overwrite(times=times, batch_size=32)
    changed = attack.apply(host, AttackData(digits), generator())
    assert left(passport, changed) > 0.85
    before, after = (accuracy(model, digits.x_test, digits.y_test) for model in (host, changed))
    assert after > before - 0.1 * times  # 18 steps each, over a host of 600 samples
    for name in ("conv1", "conv2", "conv3"):
        assert not torch.equal(changed.get_submodule(name).weight, host.get_submodule(name).weight)
    assert attack.steps(AttackData(digits)) == times * 18


def test_resampling_spares_what_outputs_depend_on(trained: nn.Module, digits: Dataset) -> None:
    x = digits.x_train[:64]
    changed = sensitivity_resampling(trained, x, loss=0.01, generator=generator())
    moved = (changed.conv3.weight - trained.conv3.weight).detach()
    assert moved.norm() > 0.2 * trained.conv3.weight.detach().norm()
    # As much noise in any direction costs much more.
    anywhere = copy.deepcopy(trained)
    noise = torch.randn(moved.shape, generator=generator())
    with torch.no_grad():
        anywhere.conv3.weight.add_(noise * moved.norm() / noise.norm())
    only = copy.deepcopy(trained)
    only.conv3.weight.data.copy_(changed.conv3.weight.data)
    with torch.no_grad():
        near, far = ((m(x) - trained(x)).norm() for m in (only, anywhere))
    assert near < 0.6 * far
    assert accuracy(changed, digits.x_test, digits.y_test) > 0.85


def test_the_least_salient_entries_are_those_of_a_slow_count() -> None:
    values = torch.rand(6, 7, generator=generator())
    free = _least(values, 0.1)
    total, chosen = 0.0, set()
    for index in values.flatten().argsort().tolist():
        total += float(values.flatten()[index])
        if total > 0.1 * float(values.sum()):
            break
        chosen.add(index)
    assert set(free.flatten().nonzero().flatten().tolist()) == chosen


def test_a_frozen_weight_stays_frozen(trained: nn.Module, digits: Dataset) -> None:
    frozen = copy.deepcopy(trained)
    frozen.conv1.weight.requires_grad_(False)
    attack = SensitivityResampling(samples=16, loss=0.1)
    changed = attack.apply(frozen, AttackData(digits), generator())
    assert not changed.conv1.weight.requires_grad
    assert changed.conv2.weight.requires_grad
    assert not torch.equal(changed.conv1.weight, frozen.conv1.weight)
