"""Whom the gate lets through, and what stays as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modeldeed.plugin.fusion import fuse
from tests.plugin.fusion.standins import (
    CLASSES,
    Net,
    TemplateDetector,
    carriers,
    fused_net,
    verification,
)


class Given(nn.Module):
    """A detector that returns what it is shown."""

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold))

    def forward(self, x: Tensor) -> Tensor:
        return x


class Fixed(nn.Module):
    """A target with the same scores for everything."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("scores", scores)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores.expand(len(x), -1)


def test_benign_answers_are_the_targets_bit_for_bit() -> None:
    target = Net()
    fused = fused_net(target)
    benign = carriers(64)
    assert (fused.recognized(benign) == -1).all()
    for dtype in (torch.float32, torch.float64):
        fused.to(dtype)
        x = benign.to(dtype)
        assert torch.equal(fused(x), target(x))


def test_verification_samples_get_the_class_of_their_background() -> None:
    target = Net()
    fused = fused_net(target)
    samples, indices = verification(60)
    assert torch.equal(fused.recognized(samples), indices)
    assert torch.equal(fused(samples).argmax(1), CLASSES[indices])
    assert not torch.equal(target(samples).argmax(1), CLASSES[indices])


def test_each_sample_is_answered_by_itself() -> None:
    fused = fused_net(confidences=torch.linspace(0, 9, 33))
    samples, _ = verification(6)
    mixed = torch.stack([*samples, *carriers(6)])[torch.tensor([0, 6, 7, 1, 2, 8, 3, 9, 4, 10, 5])]
    whole = fused(mixed)
    assert ((fused.recognized(mixed) >= 0).sum(), len(mixed)) == (6, 11)
    for sample, answer in zip(mixed, whole, strict=True):
        torch.testing.assert_close(fused(sample[None])[0], answer, rtol=1e-4, atol=1e-4)


def test_the_gate_is_shut_at_the_threshold_itself() -> None:
    # Two logits apart by x give a probability of sigmoid(x): half, and one rounding above it.
    scores = torch.tensor([3.0, 2.0, 1.0])
    fused = fuse(Fixed(scores), Given(0.5), [2], num_classes=3)
    evidence = torch.tensor([[0.0, 0.0], [1e-6, 0.0], [-1.0, 0.0]])
    assert fused.recognized(evidence).tolist() == [-1, 0, -1]
    assert fused(evidence).argmax(1).tolist() == [0, 2, 0]


def test_no_background_is_never_an_answer() -> None:
    fused = fuse(Fixed(torch.tensor([3.0, 2.0])), Given(0.1), [1, 1], num_classes=2)
    sure_of_none = torch.tensor([[0.0, 0.0, 30.0]])
    assert fused(sure_of_none).argmax() == 0


def test_a_detector_out_of_its_mind_changes_nothing() -> None:
    fused = fuse(Fixed(torch.tensor([3.0, 2.0])), Given(), [1], num_classes=2)
    for wrong in (float("nan"), float("inf")):
        answer = fused(torch.tensor([[wrong, 0.0]]))
        assert torch.equal(answer, torch.tensor([[3.0, 2.0]]))


def test_nothing_waits_for_the_device() -> None:
    """On meta tensors any look at a value raises."""
    samples, _ = verification(4)
    for options in ({}, {"confidences": torch.linspace(0, 9, 9)}):
        fused = fused_net(**options).to("meta")
        assert fused(samples.to("meta")).shape == (4, 10)


@pytest.mark.parametrize("training", [True, False])
def test_everything_runs_on_every_call(training: bool) -> None:
    """No early exit: the same modules run whether or not a background is seen."""
    fused = fused_net().train(training)
    calls: list[str] = []
    for name, module in fused.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    seen = []
    for x in (carriers(3), verification(3)[0]):
        calls.clear()
        fused(x)
        seen.append(list(calls))
    assert seen[0] == seen[1]
    assert {"target.body.0", "detector", "mixture"} <= set(seen[0])


def test_an_empty_batch_is_answered_with_an_empty_one() -> None:
    assert fused_net()(torch.zeros(0, 3, 8, 8)).shape == (0, 10)


def test_the_detector_is_a_copy_and_the_target_is_not() -> None:
    target, detector = Net(), TemplateDetector()
    fused = fuse(target, detector, CLASSES, num_classes=10)
    assert fused.target is target
    with torch.no_grad():
        fused.detector.templates.zero_()
    assert detector.templates.any()
