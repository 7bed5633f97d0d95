"""Independent models are not taken for changed ones, nor a replaced layer for a changed one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from modeldeed.inspecting import Inspection, inspect_suspect
from modeldeed.inspecting.chance import matched_by_luck, unmatched_by_luck
from tests.attacks.conftest import DigitNet
from tests.inspecting.conftest import State

Inspected = Callable[[nn.Module | State], Inspection]


def test_a_model_of_its_own_is_unrelated(stranger: nn.Module, inspected: Inspected) -> None:
    found = inspected(stranger)
    assert {layer.word for layer in found.layers} == {"unrelated"}
    assert found.explanations[0].words.startswith("a model of its own")
    assert all(layer.similarity and abs(layer.similarity.score) < 5 for layer in found.layers)


def test_untrained_models_are_unrelated(inspected: Inspected) -> None:
    wrong = 0
    for seed in range(10):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(100 + seed)
            found = inspected(DigitNet())
        wrong += sum(layer.word != "unrelated" for layer in found.layers)
    assert wrong == 0


def test_one_replaced_layer_is_named(trained: nn.Module, inspected: Inspected) -> None:
    model = copy.deepcopy(trained)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model.conv2.reset_parameters()  # type: ignore[union-attr,operator]
    found = inspected(model)
    words = {layer.name: layer.word for layer in found.layers}
    assert words == {
        "conv1.weight": "identical",
        "conv2.weight": "unrelated",
        "conv3.weight": "identical",
        "fc.weight": "identical",
    }
    assert "conv2.weight" in found.explanations[0].words
    assert [change.name for change in found.tampering.changes] == ["conv2.weight"]


def test_independent_models_calibrate(
    trained: nn.Module, stranger: nn.Module, attacked: Callable[..., nn.Module]
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(50)
        nulls = [DigitNet().eval() for _ in range(3)]
    found = inspect_suspect(attacked(("permute", "all")), trained, nulls=nulls)
    assert found.null_models == 3
    for layer in found.layers:
        assert layer.similarity is not None
        assert layer.similarity.rank == 1 / 4
        assert layer.similarity.score > 5
    own = inspect_suspect(stranger, trained, nulls=nulls)
    assert {layer.word for layer in own.layers} == {"unrelated"}


def test_the_closed_form_of_chance_is_what_rotations_show() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 8, 9, generator=generator) * torch.rand(8, 1, generator=generator)
    flat, cosines = weight.flatten(1), []
    for _ in range(400):
        turned, upper = torch.linalg.qr(torch.randn(24, 24, generator=generator))
        turned = turned * upper.diagonal().sign()  # else it is not uniform
        cosines.append(float((turned @ flat * flat).sum() / flat.square().sum()))
    shown = torch.tensor(cosines)
    computed = unmatched_by_luck(weight, 0)
    assert abs(float(shown.mean())) < 0.2 * computed.spread
    assert 0.85 < float(shown.std()) / computed.spread < 1.15


def test_luck_of_the_best_match_is_in_the_comparison() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 1, 9, generator=generator)
    assert matched_by_luck(weight).expected > 0.7  # nine weights a row: a partner is easily found
    wide = torch.randn(64, 64, 9, generator=generator)
    assert matched_by_luck(wide).expected < 0.35
