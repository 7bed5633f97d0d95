"""The residual networks against a slow, obvious twin, and the traps of published ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from modeldeed import models
from modeldeed.errors import OptionError

State = dict[str, Tensor]


def conv(x: Tensor, state: State, key: str, stride: int = 1) -> Tensor:
    weight = state[f"{key}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def norm(x: Tensor, state: State, key: str) -> Tensor:
    mean, var, scale, bias = (
        state[f"{key}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * scale + bias


def textbook_resnet(x: Tensor, state: State, blocks: list[int], strides: list[int]) -> Tensor:
    """Evaluate He et al.'s network straight from its weights, whichever its blocks and stem."""
    imagenet = state["stem.conv.weight"].shape[-1] == 7
    x = torch.relu(norm(conv(x, state, "stem.conv", 2 if imagenet else 1), state, "stem.norm"))
    if imagenet:
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    for stage, (count, first_stride) in enumerate(zip(blocks, strides, strict=True)):
        for block in range(count):
            key, stride = f"stages.{stage}.{block}", first_stride if block == 0 else 1
            y = textbook_branch(x, state, key, stride)
            if f"{key}.shortcut.conv.weight" in state:
                x = norm(
                    conv(x, state, f"{key}.shortcut.conv", stride), state, f"{key}.shortcut.norm"
                )
            x = torch.relu(y + x)
    return x.mean(dim=(2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]


def textbook_branch(x: Tensor, state: State, key: str, stride: int) -> Tensor:
    """Evaluate a block's residual branch: 3x3, 3x3, or 1x1, 3x3, 1x1 if it is a bottleneck."""
    bottleneck = f"{key}.conv3.weight" in state
    strides = [1, stride, 1] if bottleneck else [stride, 1]
    for number, step in enumerate(strides, start=1):
        x = norm(conv(x, state, f"{key}.conv{number}", step), state, f"{key}.norm{number}")
        if number < len(strides):
            x = torch.relu(x)
    return x


def randomized(net: models.ResNet) -> models.ResNet:
    """Give every norm a random scale, bias and statistics, so that each matters."""
    for name, tensor in net.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + (0.5 if name.endswith("var") else -0.3))
    return net.double().eval()


@pytest.mark.parametrize(
    ("net", "blocks", "strides", "shape"),
    [
        (models.resnet18(width=8), [2, 2, 2, 2], [1, 2, 2, 2], (2, 3, 32, 32)),
        (models.resnet18(width=8, form="imagenet"), [2, 2, 2, 2], [1, 2, 2, 2], (2, 3, 64, 64)),
        (models.resnet50(width=4), [3, 4, 6, 3], [1, 2, 2, 2], (2, 3, 32, 32)),
        (models.resnet50(width=4, form="imagenet"), [3, 4, 6, 3], [1, 2, 2, 2], (2, 3, 64, 64)),
        (models.resnet_small(), [1, 1, 1, 1], [1, 2, 2, 1], (2, 1, 8, 8)),
    ],
    ids=["resnet18", "resnet18, imagenet", "resnet50", "resnet50, imagenet", "resnet_small"],
)
def test_equals_the_textbook_network(
    net: models.ResNet, blocks: list[int], strides: list[int], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    net = randomized(net)
    x = torch.rand(shape, dtype=torch.float64)
    expected = textbook_resnet(x, net.state_dict(), blocks, strides)
    torch.testing.assert_close(net(x), expected)


def test_the_residual_branch_is_not_rectified_before_the_addition() -> None:
    torch.manual_seed(0)
    net = models.resnet18(width=8).eval()
    block = net.stages[1][1]
    x = torch.rand(2, 16, 8, 8)
    with torch.no_grad():
        block.norm2.bias.fill_(-0.5)
        block.norm2.weight.zero_()
    # The branch is -0.5 everywhere: with a ReLU behind it, the block would return x unchanged.
    torch.testing.assert_close(block(x), torch.relu(x - 0.5))


def test_no_weight_of_resnet_small_is_dead_on_digits() -> None:
    torch.manual_seed(0)
    net = models.resnet_small()
    net(torch.rand(64, 1, 8, 8)).square().sum().backward()
    dead = {n: int((p.grad == 0).sum()) for n, p in net.named_parameters() if (p.grad == 0).any()}
    assert dead == {}


def test_any_image_size_is_accepted() -> None:
    net = models.resnet_small().eval()
    assert net(torch.zeros(1, 1, 19, 33)).shape == (1, 10)


def test_width_scales_the_norm_channels() -> None:
    net = models.resnet_small(width=8)
    assert sum(v.numel() for k, v in net.state_dict().items() if k.endswith("running_mean")) == 360


def test_blocks_and_strides_must_agree() -> None:
    with pytest.raises(OptionError, match="got 1 for 2 stages"):
        models.ResNet([1, 1], [1])
