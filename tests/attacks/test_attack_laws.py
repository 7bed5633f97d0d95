"""What holds for every attack: it is pure, seeded, and leaves a working model behind."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.optimizer import register_optimizer_step_post_hook

from modeldeed import attacks
from modeldeed.attacks import Attack, AttackData, Need, Prune, registry
from modeldeed.attacks._layers import weights_of
from modeldeed.errors import OptionError
from modeldeed.training import Recipe
from tests.attacks.cases import ALL, CHANGING, ELSEWHERE, KEEPING, draws
from tests.attacks.conftest import (
    SmallPoints,
    SmallTransformer,
    seeded,
    small_data,
    small_model,
    small_points,
)

OWN = [
    name
    for name in attacks.names()
    if not attacks.find(name).__module__.startswith("modeldeed.attacks.invariance")
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[n], second[n]) for n in first)


def test_the_tables_have_every_registered_attack() -> None:
    assert {attack.name for attack in ALL} | ELSEWHERE == set(OWN)
    for attack in ALL:
        assert type(attack) is attacks.find(attack.name)


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_an_attack_changes_nothing_but_its_copy(attack: Attack, data: AttackData) -> None:
    model = small_model().train()
    (model(data.dataset.x_train)).sum().backward()
    model[3].weight.requires_grad_(False)
    before = state(model)
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    inputs, random = data.dataset.x_train.clone(), torch.get_rng_state()
    other = state(data.other_model)
    changed = attack.apply(model, data, generator())

    assert same(before, model.state_dict())
    assert same(other, data.other_model.state_dict())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    assert [m.training for m in model.modules()] == [True] * len(list(model.modules()))
    assert (model[6].momentum, model[3].weight.requires_grad) == (0.3, False)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    assert not any(p._backward_hooks for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(data.dataset.x_train, inputs)

    assert changed is not model
    assert {t.data_ptr() for t in changed.parameters()}.isdisjoint(
        t.data_ptr() for t in model.parameters()
    )
    assert not any(m.training for m in changed.modules())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in changed.modules())
    outputs = changed(inputs)
    assert (outputs.isfinite().all(), outputs.shape) == (True, (48, 3))


@pytest.mark.parametrize("attack", KEEPING, ids=repr)
def test_a_changed_copy_is_like_the_model(
    attack: Attack, model: nn.Module, data: AttackData
) -> None:
    model[3].weight.requires_grad_(False)
    changed = attack.apply(model, data, generator())
    before, after = model.state_dict(), changed.state_dict()
    assert list(before) == list(after)
    assert [t.shape for t in before.values()] == [t.shape for t in after.values()]
    assert changed[6].momentum == 0.3
    assert changed[5] is changed[7]  # what was shared still is
    assert not same(before, after)
    assert all(p.is_leaf for p in changed.parameters())  # any attack may follow on any other
    assert [p.requires_grad for p in changed.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_the_same_generator_makes_the_same_model_and_another_another(
    attack: Attack, model: nn.Module, data: AttackData
) -> None:
    found = []
    for number, seed in enumerate((7, 7, 8)):
        torch.manual_seed(number)
        changed = attack.apply(model, data, generator(seed))
        found.append((state(changed), changed(data.dataset.x_train)))
    assert same(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    if draws(attack):
        assert not same(found[0][0], found[2][0]) or not torch.equal(found[0][1], found[2][1])


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_steps_count_the_steps_of_all_optimizers(
    attack: Attack, model: nn.Module, data: AttackData
) -> None:
    taken = []
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    try:
        attack.apply(model, data, generator())
    finally:
        hook.remove()
    assert attack.steps(data) == len(taken)


PICTURES_ONLY = {"input-smoothing", "input-reconstruction"}


def fits(attack: Attack, sort: str) -> bool:
    """Tell whether an attack is meant for a kind of network; what is given beside has pictures."""
    if sort == "points" and attack.name in PICTURES_ONLY:
        return False
    return not {"another architecture", "another model", "other data"} & set(attack.needed())


SORTED = [(a, sort) for a in ALL for sort in ("points", "transformer") if fits(a, sort)]


@pytest.mark.parametrize(("attack", "sort"), SORTED, ids=repr)
def test_an_attack_works_on_points_and_transformers(attack: Attack, sort: str) -> None:
    points = sort == "points"
    model = seeded(SmallPoints) if points else seeded(SmallTransformer)
    given = small_points() if points else small_data()
    before = state(model)
    changed = attack.apply(model, AttackData(given), generator())
    assert same(before, model.state_dict())
    with torch.no_grad():  # torch's fast path for transformers
        outputs = changed(given.x_train)
    assert outputs.isfinite().all()
    if attack.name not in ("input-noise", "input-flip"):  # those draw anew in every call
        torch.testing.assert_close(changed(given.x_train), outputs, rtol=1e-3, atol=1e-4)
    if attack in CHANGING:
        assert not torch.equal(outputs, model(given.x_train))
    elif attack.name in ("prune", "quantize", "weight-noise", "turn-away", "cast"):
        after = changed.state_dict()
        weights = [name for name, weight in weights_of(model) if weight.dim() > 1]
        assert all(not torch.equal(before[name], after[name]) for name in weights)
        # Attention keeps the weights of its projections in a tensor of its own.
        assert points or "layer.self_attn.in_proj_weight" in weights


EARLY = [a for a in KEEPING if type(a).__name__ in ("Prune", "Quantize", "LowVarianceResampling")]


@pytest.mark.parametrize("attack", EARLY, ids=repr)
def test_a_weight_that_is_computed_is_refused(attack: Attack, data: AttackData) -> None:
    """Writing to it would be lost without a word."""
    model = small_model()
    parametrizations.weight_norm(model[3])
    with pytest.raises(OptionError, match=r"^3 \(ParametrizedConv2d\).*remove_parametrizations"):
        attack.apply(model, data, generator())


@pytest.mark.parametrize("attack", EARLY, ids=repr)
def test_a_model_without_weights_is_refused(attack: Attack, data: AttackData) -> None:
    with pytest.raises(OptionError, match=r"Sequential has no layer of Conv1d, Conv2d, Linear"):
        attack.apply(nn.Sequential(nn.BatchNorm2d(2)), data, generator())


# What is declared


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("recipe", [None, Recipe(epochs=60, learning_rate=0.2, batch_size=32)])
def test_every_attack_says_what_it_needs_and_how_strong_it_can_be(
    name: str, recipe: Recipe | None
) -> None:
    kind = attacks.find(name)
    assert kind.source
    assert "key" in kind.unknown
    strengths = kind.strengths(recipe)
    assert len(strengths) >= 3
    assert len(set(strengths.values())) == len(strengths)
    for strength, attack in strengths.items():
        assert strength
        assert type(attack) is kind
        assert set(attack.needed()) <= set(get_args(Need))
        if recipe and getattr(attack, "epochs", 0):
            assert attack.batch_size == 32
    first = (inspect.getdoc(kind) or "").partition("\n")[0]
    assert first.endswith(".")


@pytest.mark.parametrize("name", OWN)
def test_every_file_of_an_attack_names_its_source(name: str) -> None:
    path = inspect.getsourcefile(attacks.find(name))
    text = Path(path).read_text("utf-8")
    assert "\nSource:\n    " in text.split('"""')[1]
    assert len(text.splitlines()) <= 300


@pytest.mark.parametrize("attack", [a for a in ALL if "labels" not in a.needed()], ids=repr)
def test_attacks_that_need_no_labels_come_out_the_same_with_wrong_ones(
    attack: Attack, model: nn.Module, data: AttackData
) -> None:
    lied = small_data()
    object.__setattr__(lied, "y_train", (lied.y_train + 1) % 3)
    wrong = AttackData(lied, None, data.other_data, data.other_model, data.other_architecture)
    found = [attack.apply(model, d, generator()).state_dict() for d in (data, wrong)]
    assert same(*found)


WEIGHTLESS = [
    a for a in CHANGING if "weights" in a.unknown and getattr(a, "architecture", "") == "other"
]


@pytest.mark.parametrize("attack", WEIGHTLESS, ids=repr)
def test_attacks_that_see_no_weights_come_out_the_same_for_equal_functions(
    attack: Attack, model: nn.Module, data: AttackData
) -> None:
    """Other weights, the same answers."""
    twin = small_model().eval()
    with torch.no_grad():
        twin[11].weight.mul_(0.5)
        twin[11].bias.mul_(0.5)
    doubled = nn.Sequential(twin, _Twice()).eval()
    found = [attack.apply(m, data, generator()).state_dict() for m in (model, doubled)]
    assert same(*found)


class _Twice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_nothing_that_attacks_takes_a_key() -> None:
    for name in attacks.names():
        words = {word for f in fields(attacks.find(name)) for word in f.name.split("_")}
        assert not words & {"key", "owner", "master", "secret", "passport"}
    held = [field.name for field in fields(AttackData)]
    assert held == ["dataset", "augment", "other_data", "other_model", "other_architecture"]


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
    with pytest.raises(OptionError, match=r"there are: .*halve, .*low-variance"):
        attacks.find("third")
    with pytest.raises(OptionError, match="names no strengths"):
        attacks.chosen("halve")


def test_an_attack_that_would_know_the_key_is_refused() -> None:
    @dataclass(frozen=True)
    class Cheat(Attack):
        owner: bytes = b""

        def apply(self, model, data, generator):
            return model

    with pytest.raises(OptionError, match="would know owner"):
        attacks.register("cheat")(Cheat)
    assert "cheat" not in attacks.names()
