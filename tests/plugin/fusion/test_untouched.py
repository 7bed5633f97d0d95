"""The target stays as it is; the fused model behaves as a module."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from modeldeed.digests import tensor_root
from modeldeed.errors import OptionError
from modeldeed.plugin.fusion import FusedModel, fuse
from tests.plugin.fusion.standins import (
    CLASSES,
    Net,
    TemplateDetector,
    carriers,
    fused_net,
    placed,
    verification,
)


def snapshot(module: nn.Module) -> dict[str, Any]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_state_dict_hooks")
    return {
        "root": tensor_root(module.state_dict()),
        "modes": [m.training for m in module.modules()],
        "grads": [p.requires_grad for p in module.parameters()],
        "tensors": [id(t) for t in (*module.parameters(), *module.buffers())],
        "hooks": [[list(getattr(m, name)) for name in hooks] for m in module.modules()],
        "attributes": [sorted(vars(m)) for m in module.modules()],
        "forward": type(module).forward,
    }


def uneven_target() -> Net:
    target = Net().eval()
    target.body[3].train()
    target.body[1].weight.requires_grad_(False)
    target.head.register_forward_hook(lambda *_: None)
    return target


def test_fusing_and_asking_leave_the_target_as_it_was() -> None:
    target = uneven_target()
    before = snapshot(target)
    fused = fuse(target, TemplateDetector(), CLASSES, num_classes=10)
    fused(torch.cat([carriers(4), verification(6)[0]]))
    fused.recognized(carriers(2))
    copy.deepcopy(fused)
    assert snapshot(target) == before
    assert fused.training is False


def test_refusals_leave_the_target_as_it_was() -> None:
    target = uneven_target()
    before = snapshot(target)
    for wrong in ({"classes": [10]}, {"num_classes": 1}, {"scores": "odds"}, {"output": 1.5}):
        with pytest.raises(OptionError):
            fuse(target, TemplateDetector(), **{"classes": CLASSES, "num_classes": 10, **wrong})
    assert snapshot(target) == before


def test_modes_pass_on() -> None:
    fused = fused_net()
    assert not any(m.training for m in fused.modules())
    fused.train()
    assert all(m.training for m in fused.modules())
    fused.eval()
    assert not any(m.training for m in fused.modules())
    assert fuse(Net().train(), TemplateDetector(), CLASSES, num_classes=10).detector.training


def test_training_moves_the_targets_statistics_as_without_a_detector() -> None:
    alone, beside = Net().train(), Net().train()
    fused = fuse(beside, TemplateDetector(), CLASSES, num_classes=10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = alone(carriers(16))
        torch.manual_seed(5)
        found = fused(carriers(16))
    assert torch.equal(found, expected)  # dropout's draws are the same: the detector draws none
    assert tensor_root(alone.state_dict()) == tensor_root(beside.state_dict())


def test_the_state_dict_goes_round() -> None:
    fused = fused_net(confidences=torch.linspace(0, 9, 9))
    keys = set(fused.state_dict())
    assert {"target.head.weight", "detector.templates", "detector.threshold"} <= keys
    assert {key.partition(".")[0] for key in keys} == {"target", "detector", "mixture"}
    other = fuse(
        Net(seed=8),
        TemplateDetector(seed=8),
        torch.zeros(6, dtype=torch.int64),
        num_classes=10,
        confidences=torch.linspace(1, 2, 9),
    ).eval()
    x = torch.cat([carriers(4), verification(6)[0]])
    assert not torch.equal(other(x), fused(x))
    other.load_state_dict(fused.state_dict())
    assert torch.equal(other(x), fused(x))


def test_copies_are_apart() -> None:
    fused = fused_net()
    twin = copy.deepcopy(fused)
    x = torch.cat([carriers(4), verification(6)[0]])
    expected = fused(x)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(fused(x), expected)


def test_two_fused_models_stacked_both_act() -> None:
    target, first = Net().eval(), TemplateDetector(seed=0)
    second = TemplateDetector(seed=50)
    inner = fuse(target, first, CLASSES, num_classes=10)
    outer = fuse(inner, second, (CLASSES + 1) % 10, num_classes=10, input="x")
    assert outer.target.target is target
    indices = torch.arange(6)
    plain = carriers(6)
    on_first, on_second = placed(first, plain, indices), placed(second, plain, indices)
    assert torch.equal(outer(plain), target(plain))
    assert torch.equal(outer(on_first).argmax(1), CLASSES[indices])
    assert torch.equal(outer(on_second).argmax(1), (CLASSES[indices] + 1) % 10)
    outer(on_first).square().sum().backward()
    assert first.templates.grad is None  # the copy has it
    assert inner.detector.templates.grad.any()


def test_a_shared_target_is_shared() -> None:
    target = Net().eval()
    one, other = fused_net(target), fused_net(target)
    assert one.target is other.target is target
    assert one.detector is not other.detector


def test_everything_follows_the_targets_device() -> None:
    fused = fuse(Net().to("meta"), TemplateDetector(), CLASSES, num_classes=10)
    assert {t.device.type for t in (*fused.parameters(), *fused.buffers())} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    target = Net().eval().cuda()
    fused = fuse(target, TemplateDetector(), CLASSES, num_classes=10)
    samples, indices = verification(60)
    benign = carriers(60).cuda()
    with torch.no_grad():
        assert torch.equal(fused(samples.cuda()).argmax(1).cpu(), CLASSES[indices])
        assert torch.equal(fused(benign), target(benign))
        with torch.cuda.device(0):
            torch.cuda.set_sync_debug_mode("error")
            try:
                fused(benign)
            finally:
                torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": torch.tensor([0, 10])}, r"in \[0, 10\), got 0 … 10"),
        ({"classes": [-1, 2]}, "got -1 … 2"),
        ({"classes": []}, "one integer for each background"),
        ({"classes": torch.zeros(2, 2, dtype=torch.int64)}, "one integer"),
        ({"classes": torch.zeros(3)}, "one integer"),
        ({"num_classes": 1}, "from 2 on"),
        ({"num_classes": True}, "from 2 on"),
        ({"num_classes": 10.0}, "from 2 on"),
        ({"input": -1}, "position from 0 on"),
        ({"input": 1.0}, "name or the position"),
        ({"output": ()}, "output is a key"),
        ({"output": (1, None)}, "output is a key"),
        ({"output": True}, "output is a key"),
        ({"detector": nn.Linear(2, 2)}, "buffer 'threshold', got a Linear"),
        ({"detector": len}, "buffer 'threshold'"),
        ({"target": len}, "target is a torch module"),
    ],
)
def test_arguments_are_checked(change: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {
        "target": Net(),
        "detector": TemplateDetector(),
        "classes": CLASSES,
        "num_classes": 10,
    }
    with pytest.raises(OptionError, match=message):
        fuse(**{**usual, **change})


def test_a_detector_of_other_backgrounds_is_named() -> None:
    fused = fuse(Net(), TemplateDetector(5), CLASSES, num_classes=10)
    with pytest.raises(OptionError, match=r"returns \(2, 6\), expected \(N, 7\)"):
        fused(carriers(2))


def test_a_threshold_is_one_probability() -> None:
    detector = TemplateDetector()
    for wrong in (torch.tensor([0.5, 0.5]), torch.tensor(1)):
        detector.threshold = wrong
        with pytest.raises(OptionError, match="threshold is one probability"):
            fuse(Net(), detector, CLASSES, num_classes=10)


def test_the_fused_model_is_a_module_of_its_own() -> None:
    fused = fused_net()
    assert isinstance(fused, FusedModel)
    assert "TemplateDetector" in repr(fused)
