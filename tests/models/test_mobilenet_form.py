"""MobileNetV2 against a slow, obvious twin, and its rule of widths."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from modeldeed import models
from modeldeed.errors import OptionError
from modeldeed.models import ImageForm

# Table 2 of the paper: expansion t, channels c, repeats n, stride s.
TABLE = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]
State = dict[str, Tensor]


def conv_norm(x: Tensor, state: State, key: str, stride: int = 1) -> Tensor:
    weight = state[f"{key}.conv.weight"]
    groups = x.shape[1] // weight.shape[1]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
    mean, var, scale, bias = (
        state[f"{key}.norm.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * scale + bias


def relu6(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


def textbook_mobilenet(x: Tensor, state: State, form: ImageForm) -> Tensor:
    """Evaluate the paper's table straight from the weights."""
    keep = form == "cifar"
    x = relu6(conv_norm(x, state, "stem", 1 if keep else 2))
    for stage, (expansion, _, count, stride) in enumerate(TABLE):
        for block in range(count):
            key = f"stages.{stage}.{block}"
            step = stride if block == 0 and not (keep and stage == 1) else 1
            y = relu6(conv_norm(x, state, f"{key}.expand")) if expansion > 1 else x
            y = relu6(conv_norm(y, state, f"{key}.depthwise", step))
            y = conv_norm(y, state, f"{key}.project")
            x = x + y if x.shape == y.shape else y
    x = relu6(conv_norm(x, state, "head")).mean(dim=(2, 3))
    return x @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize(("form", "size"), [("cifar", 16), ("imagenet", 64)])
def test_equals_the_textbook_network(form: ImageForm, size: int) -> None:
    torch.manual_seed(0)
    net = models.mobilenet_v2(num_classes=5, width=0.25, form=form)
    for name, tensor in net.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + (0.5 if name.endswith("var") else -0.3))
    net = net.double().eval()
    x = torch.rand(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(net(x), textbook_mobilenet(x, net.state_dict(), form))


def test_channels_of_every_stage_are_those_of_the_table() -> None:
    with torch.device("meta"):
        state = models.mobilenet_v2().state_dict()
    found = [len(state[f"stages.{stage}.0.project.conv.weight"]) for stage in range(len(TABLE))]
    assert found == [channels for _, channels, _, _ in TABLE]
    assert state["head.conv.weight"].shape[:2] == (1280, 320)


@pytest.mark.parametrize(
    ("width", "parameters"),
    # Millions of parameters of the checkpoints which the authors released.
    [(0.35, 1.66), (0.5, 1.95), (0.75, 2.61), (1.0, 3.47), (1.4, 6.06)],
)
def test_widths_of_the_release(width: float, parameters: float) -> None:
    with torch.device("meta"):
        net = models.mobilenet_v2(1000, width=width)
    found = sum(p.numel() for p in net.parameters()) / 1e6
    assert found == pytest.approx(parameters, rel=0.02)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    net = models.mobilenet_v2(width=0.25, norm="layer")
    x = torch.randn(2, 3, 16, 16)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize("width", [0, -1.0, float("nan")])
def test_a_width_that_is_not_positive_is_refused(width: float) -> None:
    with pytest.raises(OptionError, match="width: got"):
        models.mobilenet_v2(width=width)
