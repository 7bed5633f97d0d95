"""Running by name, the record of cost, stacks, and the table of attacks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from modeldeed import attacks
from modeldeed.attacks import (
    Attack,
    AttackData,
    Average,
    FineTune,
    Prune,
    Quantize,
    Retrain,
    Stack,
    WeightNoise,
    chosen,
    prune,
    quantize,
    run,
)
from modeldeed.attacks.listing import described, markdown
from modeldeed.errors import OptionError
from modeldeed.training import Recipe
from tests.attacks.conftest import small_data


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_run_records_what_was_done_and_what_it_took(model: nn.Module, data: AttackData) -> None:
    attack = FineTune(epochs=2, learning_rate=0.01, batch_size=16, last_layer_only=True)
    done = run(attack, model, data, generator())
    assert done.attack is attack
    assert (done.steps, done.samples, done.labels) == (6, 48, 48)
    assert done.needed == ("inputs", "labels", "architecture")
    assert 0 < done.seconds < 60
    expected = attack.apply(model, data, generator())
    assert torch.equal(done.model[11].weight, expected[11].weight)
    record = json.loads(json.dumps(done.record()))
    assert record["attack"] == "fine-tune"
    assert record["parameters"]["last_layer_only"] is True
    assert record["steps"] == 6


def test_a_run_without_data_costs_none(model: nn.Module, data: AttackData) -> None:
    done = run("prune", model, data, generator())
    assert (done.steps, done.samples, done.labels, done.needed) == (0, 0, 0, ())
    assert isinstance(done.attack, Prune)


def test_labels_that_are_not_looked_at_are_not_counted(model: nn.Module, data: AttackData) -> None:
    done = run(Retrain(epochs=1, batch_size=16), model, data, generator())
    assert (done.samples, done.labels) == (48, 0)


def test_a_name_means_the_strength_in_the_middle() -> None:
    assert chosen("weight-noise") == WeightNoise(scale=0.2)
    assert chosen("weight-noise", "50 %") == WeightNoise(scale=0.5)
    assert chosen("prune", "60 %", scope="layer") == Prune(share=0.6, scope="layer")
    own = Recipe(epochs=30, learning_rate=0.4, batch_size=8)
    tuned = chosen("fine-tune", "FTAL, 0.1× rate", recipe=own)
    assert tuned == FineTune(epochs=10, learning_rate=0.04000000000000001, batch_size=8)
    adam = replace(own, optimizer="adam")
    assert chosen("fine-tune", "FTAL", recipe=adam).learning_rate == 0.01


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: chosen("erase"), "no attack 'erase'"),
        (lambda: chosen("prune", "99 %"), "no strength '99 %'; there are: 30 %"),
        (lambda: chosen("prune", rows=3), "no field 'rows'; there are: share, scope"),
        (lambda: Stack(attacks=()), "at least one; got none"),
        (lambda: Stack(attacks=("prune",)), "got .'prune'"),
    ],
)
def test_what_is_not_there_is_named(call, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        call()


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("average", "other_model"),
        ("transfer", "other_data"),
        ("cross-architecture-retrain", "other_architecture"),
    ],
)
def test_what_an_attack_lacks_is_named_before_it_starts(
    name: str, attribute: str, model: nn.Module
) -> None:
    with pytest.raises(OptionError, match=rf"give AttackData\({attribute}=…\)"):
        run(name, model, AttackData(small_data()), generator())


def test_a_stack_is_its_attacks_in_order(model: nn.Module, data: AttackData) -> None:
    stack = Stack(attacks=[Prune(share=0.5), Quantize(bits=3)])
    found = stack.apply(model, data, generator())
    expected = quantize(prune(model, share=0.5), bits=3)
    turned = prune(quantize(model, bits=3), share=0.5)
    assert torch.equal(found[5].weight, expected[5].weight)
    assert not torch.equal(found[5].weight, turned[5].weight)
    assert stack == Stack(attacks=(Prune(share=0.5), Quantize(bits=3)))


def test_a_stack_costs_what_its_attacks_cost(model: nn.Module, data: AttackData) -> None:
    tuned = FineTune(epochs=2, learning_rate=0.01, batch_size=16)
    stack = Stack(attacks=(Average(), tuned, tuned))
    done = run(stack, model, data, generator())
    assert (done.steps, done.samples) == (12, 48)
    assert done.needed == ("inputs", "labels", "another model")
    inner = done.record()["parameters"]["attacks"]
    assert [one["attack"] for one in inner] == ["average", "fine-tune", "fine-tune"]
    assert json.dumps(done.record())


def test_every_attack_is_described() -> None:
    found = {one.name: one for one in described()}
    assert list(found) == attacks.names()
    assert found["retrain"].unknown == ("key", "weights", "labels")
    assert found["distill"].needs == ("inputs", "another architecture")
    assert found["prune"].fields == {"share": None, "scope": "global"}
    assert len(markdown().splitlines()) == len(found) + 2


def test_strengths_rise() -> None:
    """Where strength is one number, the names are in its order."""
    for name, field in (("weight-noise", "scale"), ("input-noise", "deviation"),
                        ("prune-channels", "share"), ("turn-away", "penalty"),
                        ("regularize", "decay"), ("guess-keys", "guesses")):  # fmt: skip
        found: list[Attack] = list(attacks.find(name).strengths().values())
        values = [getattr(attack, field) for attack in found]
        assert values == sorted(set(values)), name
