"""What holds for every attack: it is pure, seeded, and leaves a working model behind."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from modeldeed import attacks
from modeldeed.attacks import (
    Attack,
    AttackData,
    FineTune,
    LowVarianceResampling,
    Prune,
    Quantize,
    registry,
)
from modeldeed.errors import OptionError
from tests.attacks.conftest import small_data, small_model

SMALL = {"epochs": 2, "learning_rate": 0.05, "batch_size": 16}
ALL: dict[str, list[Attack]] = {
    "fine-tune": [
        FineTune(**SMALL),
        FineTune(**SMALL, new_classifier=True),
        FineTune(**SMALL, last_layer_only=True),
    ],
    "low-variance-resampling": [
        LowVarianceResampling(samples=32, energy=0.5, fill="zero"),
        LowVarianceResampling(samples=32, passes=2, **SMALL),
    ],
    "prune": [Prune(share=0.5), Prune(share=0.5, scope="layer")],
    "quantize": [Quantize(bits=4)],
}
CASES = [attack for several in ALL.values() for attack in several]
DRAWS = [a for a in CASES if isinstance(a, FineTune) or getattr(a, "fill", "") == "noise"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_table_below_has_every_registered_attack() -> None:
    assert sorted(ALL) == attacks.names()
    for name, several in ALL.items():
        assert {type(attack) for attack in several} == {attacks.find(name)}
        assert {attack.name for attack in several} == {name}


@pytest.mark.parametrize("attack", CASES, ids=repr)
@pytest.mark.parametrize("training", [False, True])
def test_an_attack_changes_nothing_but_its_copy(
    attack: Attack, training: bool, data: AttackData
) -> None:
    model = small_model().train(training)
    (model(data.dataset.x_train)).sum().backward()
    model[3].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    inputs, random = data.dataset.x_train.clone(), torch.get_rng_state()
    changed = attack.apply(model, data, generator())

    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    assert [m.training for m in model.modules()] == [training] * len(list(model.modules()))
    assert (model[6].momentum, model[3].weight.requires_grad) == (0.3, False)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(data.dataset.x_train, inputs)

    assert changed is not model
    assert {t.data_ptr() for t in changed.parameters()}.isdisjoint(
        t.data_ptr() for t in model.parameters()
    )
    assert not any(m.training for m in changed.modules())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in changed.modules())
    assert changed[6].momentum == 0.3
    assert changed[5] is changed[7]  # what was shared still is
    assert changed(inputs).isfinite().all()
    assert any(
        not torch.equal(before[name], tensor) for name, tensor in changed.state_dict().items()
    )


@pytest.mark.parametrize("attack", CASES, ids=repr)
def test_the_same_generator_makes_the_same_model(
    attack: Attack, model: nn.Module, data: AttackData
) -> None:
    torch.manual_seed(1)
    first = attack.apply(model, data, generator(7)).state_dict()
    torch.manual_seed(2)
    again = attack.apply(model, data, generator(7)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("attack", DRAWS, ids=repr)
def test_another_seed_makes_another_model(
    attack: Attack, model: nn.Module, data: AttackData
) -> None:
    first, other = (attack.apply(model, data, generator(seed)).state_dict() for seed in (7, 8))
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_steps_count_optimizer_steps(
    model: nn.Module, data: AttackData, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, taken = torch.optim.SGD.step, []

    def counting(self, *args, **kwargs):
        taken.append(1)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", counting)
    for attack in CASES:
        taken.clear()
        attack.apply(model, data, generator())
        assert attack.steps(data) == len(taken), attack


@pytest.mark.parametrize("attack", [CASES[3], CASES[5], CASES[7]], ids=repr)
def test_a_weight_that_is_computed_is_refused(attack: Attack, data: AttackData) -> None:
    """Writing to it would be lost without a word."""
    model = small_model()
    parametrizations.weight_norm(model[3])
    with pytest.raises(OptionError, match=r"^3 \(ParametrizedConv2d\).*remove_parametrizations"):
        attack.apply(model, data, generator())


@pytest.mark.parametrize("attack", [CASES[3], CASES[5], CASES[7]], ids=repr)
def test_a_model_without_weights_is_refused(attack: Attack, data: AttackData) -> None:
    with pytest.raises(OptionError, match=r"Sequential has no layer of (Conv1d, )?Conv2d, Linear"):
        attack.apply(nn.Sequential(nn.BatchNorm2d(2)), data, generator())


def test_an_attack_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Prune(share=0.5).share = 0.6


def test_one_decorator_is_all_a_new_attack_needs(
    monkeypatch: pytest.MonkeyPatch, model: nn.Module
) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    @attacks.register("halve")
    @dataclass(frozen=True)
    class Halve(Attack):
        def apply(self, model, data, generator):
            return model

    assert attacks.find("halve") is Halve
    assert (Halve.name, Halve().steps(AttackData(small_data()))) == ("halve", 0)
    with pytest.raises(OptionError, match="registered already"):
        attacks.register("halve")(Halve)
    with pytest.raises(OptionError, match="there are: fine-tune, halve, low-variance"):
        attacks.find("third")
