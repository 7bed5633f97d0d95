"""Rewrites keep a model's function, and change what is stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from modeldeed import attacks
from modeldeed.attacks import AttackData
from modeldeed.attacks.invariance import (
    AddDummyNeurons,
    FlipSigns,
    FoldNorms,
    InsertLayers,
    Permute,
    Scale,
    add_dummy_neurons,
    flip_signs,
    fold_norms,
    insert_layers,
    permute,
    scale,
)
from modeldeed.attacks.invariance._tracing import spaces_of
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from tests.attacks.invariance.rewritable import Small, inputs, small

KINDS = (AddDummyNeurons, FlipSigns, FoldNorms, InsertLayers, Permute, Scale)
ALL = {
    f"{kind.name}, {strength}": attack
    for kind in KINDS
    for strength, attack in kind.strengths().items()
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def data() -> AttackData:
    x, y = inputs().sigmoid(), torch.arange(16) % 5
    return AttackData(
        Dataset(name="small", x_train=x, y_train=y, x_test=x, y_test=y, classes=tuple("abcde"))
    )


@pytest.mark.parametrize("name", ALL)
def test_the_function_stays_and_the_weights_do_not(name: str, data: AttackData) -> None:
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        expected, x = model(inputs(8, 1)), inputs(8, 1)
        changed = ALL[name].apply(model, data, generator())
        assert torch.allclose(changed(x), expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
    after = changed.state_dict()
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert set(after) != set(before) or any(
        after[n].shape != t.shape or not torch.equal(after[n], t) for n, t in before.items()
    )


def test_all_of_them_one_after_the_other() -> None:
    model, x = small(), inputs(8, 1)
    with torch.no_grad():
        expected = model(x)
        for kind in ("zero", "clique", "split"):
            model = add_dummy_neurons(model, x, kind=kind, generator=generator(1))
        model = flip_signs(scale(permute(model, x, generator=generator(2)), x,
                                 generator=generator(3)), x, generator=generator(4))  # fmt: skip
        model = insert_layers(fold_norms(model, x), generator=generator(5))
        assert torch.allclose(model(x), expected, rtol=1e-3, atol=1e-3 * expected.abs().max())
    assert isinstance(model.stem, nn.Sequential)
    assert isinstance(model.norm, nn.Identity)
    assert model.stem[0].weight.shape[0] > 12


def test_they_are_registered_with_what_they_need() -> None:
    for kind in KINDS:
        assert attacks.find(kind.name) is kind
        assert len(kind.strengths()) >= 3
        assert kind.source
        assert kind.needs == ()


def test_channels_that_belong_together_are_found() -> None:
    spaces = spaces_of(small(), inputs(2))
    found = [(s.size, len(s.writers), len(s.norms), [r for _, r in s.readers]) for s in spaces]
    # The residual stream is written twice; behind the flattening each channel is four numbers.
    assert found == [(12, 2, 2, [1, 4]), (16, 1, 1, [1]), (20, 1, 1, [1])]
    model = small()
    assert not spaces_of(model, inputs(2))[0].linear


@pytest.mark.parametrize("kind", ["zero", "clique", "split"])
def test_dummies_are_what_they_are_called(kind: str) -> None:
    model = small()
    changed = add_dummy_neurons(model, inputs(2), kind=kind, share=0.5, generator=generator())
    assert changed.first.weight.shape == (24, 18, 3, 3)
    assert (changed.first.out_channels, changed.inner.num_features) == (24, 24)
    added = changed.second.weight[:, 16:]
    if kind == "zero":
        assert not added.any()
        assert changed.first.weight[16:].any()
    elif kind == "clique":
        assert torch.equal(added[:, 1::2], -added[:, ::2])
        assert torch.equal(changed.first.weight[17::2], changed.first.weight[16::2])
        assert added.any()
    else:
        assert all(
            any(torch.equal(row, old) for old in changed.first.weight[:16])
            for row in changed.first.weight[16:]
        )


def test_unknown_operations_hold_their_channels() -> None:
    class Squared(Small):
        def forward(self, x):
            x = self.norm(self.stem(x))
            x = torch.relu(self.inner(self.first(x.cumsum(1))))
            return self.classifier(self.flat(self.hidden(torch.zeros(len(x), 48) + x.mean())))

    with torch.random.fork_rng(devices=[]):
        spaces = spaces_of(Squared().eval(), inputs(2))
    assert [space.size for space in spaces] == [20]


def test_factors_need_operations_that_let_them_through() -> None:
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.Linear(8, 3)).eval()
    x = torch.randn(4, 6, generator=generator())
    first, second = spaces_of(model, x, parted=True)
    assert (first.homogeneous, first.linear, second.homogeneous, second.linear) == (
        False, False, True, True,
    )  # fmt: skip
    scaled = scale(model, x, generator=generator())
    assert torch.equal(scaled[0].weight, model[0].weight)
    assert not torch.equal(scaled[2].weight, model[2].weight)
    flipped = flip_signs(model, x, share=1.0, generator=generator())
    assert torch.equal(flipped[2].weight, -model[2].weight)
    assert torch.allclose(flipped(x), model(x), atol=1e-6)


REFUSED: list[tuple[str, Callable[[nn.Module], nn.Module]]] = [
    ("share is in", lambda m: permute(m, inputs(2), share=0, generator=generator())),
    ("share is in", lambda m: flip_signs(m, inputs(2), share=2, generator=generator())),
    ("share is in", lambda m: fold_norms(m, inputs(2), share=0)),
    ("spread is positive", lambda m: scale(m, inputs(2), spread=0, generator=generator())),
    ("kind is one of zero, clique, split",
     lambda m: add_dummy_neurons(m, inputs(2), kind="no", generator=generator())),
    ("share is in",
     lambda m: add_dummy_neurons(m, inputs(2), kind="zero", share=0, generator=generator())),
    ("kind is 'identity' or 'mixing'",
     lambda m: insert_layers(m, kind="no", generator=generator())),
    ("no batch norm right behind",
     lambda m: fold_norms(nn.Sequential(m.hidden, nn.ReLU(), m.classifier).eval(),
                          torch.zeros(2, 48))),
    ("no channels that could be changed",
     lambda m: permute(m.classifier, torch.zeros(2, 20), generator=generator())),
]  # fmt: skip


@pytest.mark.parametrize(("message", "made"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_cannot_be_is_refused(message: str, made: Callable[[nn.Module], nn.Module]) -> None:
    with pytest.raises(OptionError, match=message):
        made(small())
