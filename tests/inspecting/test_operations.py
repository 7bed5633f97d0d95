"""What was done to a trained network is named, layer by layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from modeldeed.attacks.invariance import Permute, Scale
from modeldeed.inspecting import Inspection
from tests.inspecting.conftest import WEIGHTS, State

Attacked = Callable[..., nn.Module]
Inspected = Callable[[nn.Module | State], Inspection]

ALONE = [
    (("fine-tune", "FTAL"), ("fine-tuned",)),
    (("prune", "60 %"), ("pruned",)),
    (("prune", "any 60 %"), ("pruned",)),
    (("prune", "90 % of each layer"), ("pruned",)),
    (("quantize", "8 bits"), ("quantized",)),
    (("quantize", "4 bits"), ("quantized",)),
    (("cast", "fp16"), ("cast",)),
    (("cast", "bf16"), ("cast",)),
    (("cast", "fp8 e4m3"), ("cast",)),
    (("permute", "all"), ("permuted",)),
    (("weight-noise", "20 %"), ("noise added",)),
    (("average", "50 %"), ("averaged",)),
]


@pytest.mark.parametrize(("step", "kinds"), ALONE, ids=" ".join)
def test_one_operation_is_named_in_every_layer(
    attacked: Attacked, inspected: Inspected, step: tuple[str, str], kinds: tuple[str, ...]
) -> None:
    found = inspected(attacked(step))
    named = {layer.name: layer.kinds for layer in found.layers}
    if "90 %" in step[1]:  # some rows of the first layer lose all
        assert named["conv1.weight"] == ("pruned", "channels silenced")
        named["conv1.weight"] = ("pruned",)
    assert named == dict.fromkeys(WEIGHTS, kinds)
    assert found.tampering.word == "other tensors"
    best = found.explanations[0]
    assert "in all 4 layers" in best.words
    assert best.bits_per_weight < found.explanations[-1].bits_per_weight == 24


STACKS = [
    (("fine-tune", "FTAL"), ("permute", "all")),
    (("fine-tune", "FTAL"), ("prune", "60 %")),
    (("fine-tune", "FTAL"), ("permute", "all"), ("prune", "60 %"), ("quantize", "8 bits")),
    (("permute", "all"), ("weight-noise", "20 %"), ("cast", "bf16")),
    (("permute", "all"), ("prune", "any 30 %")),
]
KINDS = {
    "fine-tune": "fine-tuned",
    "permute": "permuted",
    "prune": "pruned",
    "quantize": "quantized",
    "cast": "cast",
    "weight-noise": "noise added",
}


@pytest.mark.parametrize("steps", STACKS, ids=lambda steps: ", ".join(s[0] for s in steps))
def test_operations_are_named_together(
    attacked: Attacked, inspected: Inspected, steps: tuple[tuple[str, str], ...]
) -> None:
    expected = {KINDS[name] for name, _ in steps}
    found = inspected(attacked(*steps))
    for layer in found.layers:
        named = set(layer.kinds)
        if "noise added" in expected and "cast" in expected:  # noise that was rounded is no white
            named = {"noise added" if kind == "fine-tuned" else kind for kind in named}
        assert named == expected, layer.name


def test_factors_and_signs_are_found(attacked: Attacked, inspected: Inspected) -> None:
    scaled = inspected(attacked(Scale(spread=1.0)))
    assert {layer.kinds for layer in scaled.layers} == {("rescaled",)}
    both = inspected(attacked(Permute(), Scale(spread=1.0)))
    assert {layer.kinds for layer in both.layers} == {("permuted", "rescaled")}
    assert max(layer.change or 0 for layer in both.layers) < 1e-5
    flipped = inspected(attacked(("flip-signs", "half")))
    kinds = {layer.name: layer.kinds for layer in flipped.layers if layer.word == "changed"}
    assert set(kinds.values()) == {("sign-flipped",)}
    assert len(kinds) >= 3


def test_grids_are_told_apart(trained: nn.Module, attacked: Attacked, inspected: Inspected) -> None:
    for step, grid in (
        (("quantize", "8 bits"), "int8 per channel"),
        (("quantize", "4 bits"), "4 bits per channel"),
        (("quantize", "4 bits, groups of 32"), "4 bits in groups of 32"),
        (("cast", "fp16"), "fp16"),
        (("cast", "bf16"), "bf16"),
    ):
        assert inspected(attacked(step)).layer("conv3.weight").grid == grid
    whole = {name: t.clone() for name, t in trained.state_dict().items()}
    step_ = whole["conv3.weight"].abs().max() / 127
    whole["conv3.weight"] = (whole["conv3.weight"] / step_).round() * step_
    assert inspected(whole).layer("conv3.weight").grid == "int8 per tensor"
    assert inspected(trained).layer("conv3.weight").grid is None


def test_a_merged_low_rank_change_shows_its_rank(trained: nn.Module, inspected: Inspected) -> None:
    merged = {name: t.clone() for name, t in trained.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    up, down = torch.randn(32, 3, generator=generator), torch.randn(3, 288, generator=generator)
    merged["conv3.weight"] += 0.002 * (up @ down).view_as(merged["conv3.weight"])
    layer = inspected(merged).layer("conv3.weight")
    assert (layer.kinds, layer.rank) == (("low-rank change",), 3)


def test_removed_components_are_told_from_a_merge(attacked: Attacked, inspected: Inspected) -> None:
    found = inspected(attacked(("remove-components", "2 leading")))
    layer = found.layer("conv3.weight")
    assert (layer.kinds, layer.rank) == (("components removed",), 2)


def test_missing_and_silent_channels_are_counted(
    trained: nn.Module, attacked: Attacked, inspected: Inspected
) -> None:
    silent = inspected(attacked(("prune-channels", "25 %"))).layer("conv2.weight")
    assert silent.kinds == ("channels silenced",)
    assert silent.operations[0].detail == "8 rows"
    state = {name: t.clone() for name, t in trained.state_dict().items()}
    kept = torch.tensor([c for c in range(32) if c not in (1, 5, 6, 30)])
    for name, tensor in state.items():
        if name.startswith(("conv2.", "norm2.")) and tensor.dim():
            state[name] = tensor[kept]
    state["conv3.weight"] = state["conv3.weight"][:, kept]
    found = inspected(state)
    cut = found.layer("conv2.weight")
    assert (cut.kinds, cut.missing_rows, cut.change) == (("channels removed",), 4, 0.0)
    assert found.layer("conv3.weight").word == "changed"
    assert {change.what for change in found.tampering.changes} == {"shape"}
