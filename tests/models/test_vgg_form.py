"""VGG-16 against a slow, obvious twin, and the start that its depth needs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed import models
from modeldeed.errors import OptionError
from modeldeed.models import ImageForm, NormKind

CONVOLUTIONS = [2, 2, 3, 3, 3]


def textbook_vgg(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Evaluate configuration D straight from its weights."""
    for block, count in enumerate(CONVOLUTIONS):
        for unit in range(count):
            key = f"blocks.{block}.{unit}"
            x = F.conv2d(x, state[f"{key}.conv.weight"], state.get(f"{key}.conv.bias"), padding=1)
            if f"{key}.norm.weight" in state:
                mean, var, scale, bias = (
                    state[f"{key}.norm.{part}"][:, None, None]
                    for part in ("running_mean", "running_var", "weight", "bias")
                )
                x = (x - mean) / torch.sqrt(var + 1e-5) * scale + bias
            x = torch.relu(x)
        x = F.max_pool2d(x, 2)
    if "classifier.weight" in state:
        return x.mean(dim=(2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]
    x = x.flatten(1)
    for place in (0, 3, 6):
        x = x @ state[f"classifier.{place}.weight"].T + state[f"classifier.{place}.bias"]
        x = torch.relu(x) if place < 6 else x
    return x


@pytest.mark.parametrize("norm", ["batch", None])
@pytest.mark.parametrize(("form", "size"), [("cifar", 32), ("cifar", 64), ("imagenet", 224)])
def test_equals_the_textbook_network(norm: NormKind | None, form: ImageForm, size: int) -> None:
    torch.manual_seed(0)
    net = models.vgg16(num_classes=5, width=2, norm=norm, form=form)
    for name, tensor in net.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + (0.5 if name.endswith("var") else -0.3))
    net = net.double().eval()
    x = torch.rand(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(net(x), textbook_vgg(x, net.state_dict()))


def test_without_norms_there_are_none_and_the_convolutions_have_biases() -> None:
    net = models.vgg16(width=4, norm=None)
    assert not [name for name in net.state_dict() if "norm" in name]
    assert all(m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d))
    marked = models.vgg16(width=4)
    assert all(m.bias is None for m in marked.modules() if isinstance(m, nn.Conv2d))


def test_the_signal_survives_the_depth_without_norms() -> None:
    torch.manual_seed(0)
    net = models.vgg16(width=16, norm=None).requires_grad_(False)
    x = torch.randn(8, 3, 32, 32)
    # What two images differ by is the signal; what is common to all is not.
    assert float(net.blocks(x).std(dim=0).mean()) > 1e-3
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()  # torch's default start
    assert float(net.blocks(x).std(dim=0).mean()) < 1e-5


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    net = models.vgg16(width=4, norm=None, form="imagenet")
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


def test_an_unknown_norm_is_refused_and_none_is_named() -> None:
    with pytest.raises(OptionError, match=r"got 'weight'.*or None"):
        models.vgg16(norm="weight")
