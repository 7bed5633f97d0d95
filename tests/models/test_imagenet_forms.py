"""The published sizes and costs of the networks for ImageNet, and what the two forms share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from modeldeed import models
from modeldeed.errors import OptionError
from modeldeed.models import ImageForm

# name -> (the published network, its parameters, its floating-point operations in 10^9)
PUBLISHED: dict[str, tuple[Callable[[], nn.Module], int, float]] = {
    "resnet18": (lambda: models.resnet18(1000, form="imagenet"), 11_689_512, 3.63),
    "resnet50": (lambda: models.resnet50(1000, form="imagenet"), 25_557_032, 8.18),
    "vgg16": (lambda: models.vgg16(1000, norm=None, form="imagenet"), 138_357_544, 30.94),
    "mobilenet_v2": (lambda: models.mobilenet_v2(1000, form="imagenet"), 3_504_872, 0.60),
}
# Narrow, so that they run quickly.
NARROW: dict[str, Callable[..., nn.Module]] = {
    "resnet18": lambda **options: models.resnet18(width=4, **options),
    "resnet50": lambda **options: models.resnet50(width=4, **options),
    "vgg16": lambda **options: models.vgg16(width=4, **options),
    "vgg16, no norms": lambda **options: models.vgg16(width=4, norm=None, **options),
    "mobilenet_v2": lambda **options: models.mobilenet_v2(width=0.25, **options),
}

every_network = pytest.mark.parametrize("network", NARROW)
every_form = pytest.mark.parametrize("form", models.IMAGE_FORMS)


@pytest.mark.parametrize("network", PUBLISHED)
def test_published_parameters_and_operations(network: str) -> None:
    factory, parameters, operations = PUBLISHED[network]
    with torch.device("meta"):  # shapes alone: nothing is allocated or computed
        net, image = factory().eval(), torch.empty(1, 3, 224, 224)
    assert sum(p.numel() for p in net.parameters()) == parameters
    with FlopCounterMode(display=False) as counter:
        assert net(image).shape == (1, 1000)
    assert counter.get_total_flops() / 1e9 == pytest.approx(operations, rel=0.02)


@every_form
@every_network
@pytest.mark.parametrize("size", [32, 64, 80])
def test_both_forms_take_small_and_larger_images(network: str, form: ImageForm, size: int) -> None:
    torch.manual_seed(0)
    net = NARROW[network](num_classes=7, form=form).eval()
    logits = net(torch.rand(2, 3, size, size))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize(
    ("network", "cifar", "imagenet"),
    [("resnet18", 4, 1), ("resnet50", 4, 1), ("mobilenet_v2", 4, 1), ("vgg16", 2, 2)],
)
def test_positions_left_of_an_image_of_32(network: str, cifar: int, imagenet: int) -> None:
    for form, positions in (("cifar", cifar), ("imagenet", imagenet)):
        assert sizes_inside(NARROW[network](form=form).eval())[-1] == positions, form


def sizes_inside(net: nn.Module) -> list[int]:
    """Positions on a side behind every convolution, for an image of 32x32."""
    sizes: list[int] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *call: sizes.append(call[-1].shape[-1]))
    net(torch.rand(1, 3, 32, 32))
    return sizes


@every_network
def test_an_unknown_form_is_refused_with_the_choices(network: str) -> None:
    with pytest.raises(OptionError, match=r"form: got 'mnist'; .*'cifar', 'imagenet'"):
        NARROW[network](form="mnist")


@every_form
@every_network
def test_every_parameter_of_both_forms_receives_a_gradient(network: str, form: ImageForm) -> None:
    torch.manual_seed(0)
    net = NARROW[network](form=form)
    net(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
