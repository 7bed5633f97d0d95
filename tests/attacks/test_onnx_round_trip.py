"""An exported model computes the same, and its state dict holds what the file holds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from modeldeed import Owner, Passport
from modeldeed.alignment import align
from modeldeed.attacks import AttackData, ExportedModel, OnnxRoundTrip, onnx_round_trip
from modeldeed.attacks.invariance import permute
from modeldeed.errors import OptionError
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.suspects import open_weights
from tests.attacks.conftest import small_data

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(),
            nn.Linear(216, 3),
        ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def exported() -> ExportedModel:
    model = network()
    model[1].running_mean.fill_(0.3)
    model[1].running_var.fill_(2.0)
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    changed = OnnxRoundTrip().apply(model, AttackData(small_data()), torch.Generator())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(
        changed(small_data().x_train), model(small_data().x_train), rtol=1e-4, atol=1e-4
    )
    assert isinstance(changed, ExportedModel)
    return changed


def test_the_weights_are_those_of_the_file(exported: ExportedModel) -> None:
    state = exported.state_dict()
    assert {"0.weight", "4.weight", "4.bias"} <= set(state)
    assert torch.equal(state["4.weight"], network()[4].weight)
    # The norm is folded into the convolution, row by row.
    ratio = state["0.weight"] / network()[0].weight
    torch.testing.assert_close(ratio, torch.full_like(ratio, (2 + 1e-5) ** -0.5))
    assert list(exported.parameters()) == []


def test_a_copy_answers_as_well(exported: ExportedModel) -> None:
    x = small_data().x_train[:5]
    assert torch.equal(copy.deepcopy(exported)(x), exported(x))


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["basic", "extended"])
def test_an_optimized_file_computes_the_same(optimize: str) -> None:
    model, x = network(), small_data().x_train
    changed = onnx_round_trip(model, x[:2], optimize=optimize, half=True)
    torch.testing.assert_close(changed(x), model(x), rtol=0.02, atol=0.02)
    assert any((t == t.half().float()).all() for t in changed.state_dict().values() if t.dim() == 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", OnnxRoundTrip.strengths())
def test_every_strength_after_a_permutation_reads_aligned(name: str) -> None:
    """Files that the exporter, the optimizer and rounding made keep the bits of their ancestor."""
    model, x = wide(), small_data().x_train
    owner = Owner(bytes(32), "test")
    passport = Passport.issue(model, owner, example=x[:4])
    passport.embed([x], steps=3)
    moved = permute(model.eval(), x[:2], generator=torch.Generator().manual_seed(0))
    changed = OnnxRoundTrip.strengths()[name].apply(
        moved, AttackData(small_data()), torch.Generator()
    )
    torch.testing.assert_close(changed(x), model(x), rtol=0.02, atol=0.02)
    key, targets = passport.manifest.model_key(owner), passport.manifest.anchor.targets
    aligned = align(changed, model, targets, seed=bytes(32), like=x, key=key)
    read = [matches_of(load_layers(open_weights(w), targets), key)
            for w in (aligned.weights, moved, model)]  # fmt: skip
    assert read[0] == read[2] == sum(target.bits for target in targets)
    assert read[1] < 0.8 * read[2]


def wide() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 48, 3, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 3),
        )  # fmt: skip


def test_unknown_options_are_refused() -> None:
    with pytest.raises(OptionError, match="optimize is"):
        onnx_round_trip(network(), small_data().x_train[:2], optimize="most")
