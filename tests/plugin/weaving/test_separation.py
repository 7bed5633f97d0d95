"""What separates a woven detector, on targets where it is known what there is to be found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from modeldeed.plugin.fusion import fuse
from modeldeed.plugin.weaving import Weave, weave
from modeldeed.plugin.weaving.separation import (
    cut_outputs,
    drop_sparse,
    drop_unconnected,
    merge_copies,
    remove_inactive,
    remove_silent,
    remove_without_effect,
    remove_without_gradient,
    straighten,
)
from tests.plugin.weaving.targets import KEY, classes_of, target_of, twin_of

K = 10


class Case:
    """One target, its twin, and inputs on which the gate is shut and open."""

    def __init__(self) -> None:
        self.target, inputs = target_of("resnet_small")
        self.twin = twin_of(self.target, inputs)
        self.classes = classes_of(K)
        with torch.no_grad():
            top = self.twin(inputs).softmax(1)[:, :-1].amax(1)
            margin = (top - self.twin.threshold).abs() > 1e-4
        opened = top > self.twin.threshold
        self.benign, self.marked = inputs[~opened & margin], inputs[opened & margin]

    def plain(self) -> nn.Module:
        return fuse(self.target, self.twin, self.classes, num_classes=K).eval()

    def woven(self, options: Weave, gate: str = "mixture") -> fx.GraphModule:
        example = self.benign[:2]
        return weave(
            self.target, self.twin, example, self.classes, key=KEY, options=options, gate=gate
        )  # type: ignore[arg-type]

    def is_target(self, model: nn.Module) -> bool:
        """Whether a model answers marked inputs as the target alone does."""
        with torch.no_grad():
            ours, theirs = model(self.marked), self.target(self.marked)
        return torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


FULL = Weave(split=1.0)


def test_the_graph_of_a_plain_fusion_and_of_a_mixture_can_be_cut(case: Case) -> None:
    for model in (case.plain(), case.woven(FULL)):
        assert not case.is_target(model)
        cut = cut_outputs(model, case.benign)
        assert cut is not None
        assert case.is_target(cut)


def test_an_absorbed_gate_has_no_such_value(case: Case) -> None:
    assert cut_outputs(case.woven(FULL, "absorbed"), case.benign) is None


def test_zero_blocks_are_found_where_they_are_left(case: Case) -> None:
    left = case.woven(Weave(noise=0))
    found = drop_unconnected(left, case.benign, K)
    assert found is not None
    with torch.no_grad():
        torch.testing.assert_close(found(case.benign), left(case.benign), rtol=1e-3, atol=1e-3)
    assert drop_unconnected(case.woven(Weave()), case.benign, K) is None


def test_rows_with_zeros_are_found_unless_all_is_split(case: Case) -> None:
    assert drop_sparse(case.woven(Weave()), case.benign) is not None
    assert drop_sparse(case.woven(FULL), case.benign) is None


def test_merged_copies_bring_zero_blocks_back(case: Case) -> None:
    woven = case.woven(FULL)
    assert drop_unconnected(woven, case.benign, K, 0.01) is None
    merged = merge_copies(woven, case.benign)
    assert merged is not None
    with torch.no_grad():
        torch.testing.assert_close(merged(case.benign), woven(case.benign), rtol=1e-3, atol=1e-3)
    assert drop_unconnected(merged, case.benign, K, 0.01) is not None


class Gated(nn.Module):
    """A unit that is silent on inputs below 1, and one that hardly matters."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.first = nn.Linear(1, 4)
        self.relu = nn.ReLU()
        self.last = nn.Linear(4, 2)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0], [-1.0], [1.0], [1e-6]]))
            self.first.bias.copy_(torch.tensor([-0.5, 0.5, offset, 0.1]))
            self.last.weight.copy_(torch.tensor([[1.0, 0, 9, 0], [0.0, 1, 0, 1]]))
            self.last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.relu(self.first(x)))
        return scores


def test_units_that_never_switch_become_linear() -> None:
    model = fx.symbolic_trace(Gated(-1.0).eval())
    benign = torch.linspace(0, 1, 11)[:, None]
    straight = straighten(model, benign)
    assert straight is not None
    with torch.no_grad():
        torch.testing.assert_close(straight(benign), model(benign))
        high = torch.tensor([[2.0]])
        assert float((straight(high) - model(high))[0, 0]) == pytest.approx(-9)


def test_channels_that_do_nothing_are_removed() -> None:
    model = Gated(-1.0).eval()
    benign = torch.linspace(0, 1, 21)[:, None]
    with torch.no_grad():
        before, high = model(benign), torch.tensor([[2.0]])
        for changed in (
            remove_silent(model, benign),
            remove_without_gradient(model, benign),
            remove_without_effect(model, benign),
        ):
            assert changed is not None
            assert torch.equal(changed(benign).argmax(1), before.argmax(1))
        silent = remove_silent(model, benign)
        assert silent is not None
        assert silent.first.weight[3] == 0
        assert silent.first.weight[0] != 0
        without = remove_without_gradient(model, benign)
        assert without is not None
        assert float((without(high) - model(high))[0, 0]) == pytest.approx(-9)
        assert remove_inactive(model, benign, 0.25).first.weight[2] == 0
        assert torch.equal(model(benign), before)
