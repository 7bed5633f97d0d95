"""Residual networks for small images, and for ImageNet's."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed.errors import OptionError

from ._forms import ImageForm, is_imagenet
from ._norms import NormKind, make_norm
from ._residual_blocks import BasicBlock, Bottleneck


class ResNet(nn.Module):
    """A residual network: a stem, stages of blocks, the mean over all positions, a classifier.

    Stage ``i`` has ``width * 2**i`` channels, with bottlenecks four times as many. The stem is one
    3x3 convolution, or a 7x7 one and a max-pool, both of stride 2. Any image size is accepted.

    Args:
        blocks: number of blocks in each stage.
        strides: stride of each stage's first block; as many entries as ``blocks``.
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: channels of the stem and of the first stage.
        norm: kind of the normalization layers.
        block: the class of the blocks.
        form: which stem, ``"cifar"`` or ``"imagenet"``.

    Raises:
        OptionError: ``norm`` or ``form`` is unknown, or ``blocks`` and ``strides`` differ in
            length.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, num_classes)``, logits.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016;
        the form ``"cifar"`` has the stem that is customary for CIFAR.

    Example:
        >>> import torch
        >>> net = ResNet([1, 1], [1, 2], num_classes=4, in_channels=1, width=8)
        >>> net(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        blocks: Sequence[int],
        strides: Sequence[int],
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 64,
        norm: NormKind = "batch",
        block: type[BasicBlock | Bottleneck] = BasicBlock,
        form: ImageForm = "cifar",
    ) -> None:
        super().__init__()
        if len(blocks) != len(strides):
            raise OptionError(
                f"strides: got {len(strides)} for {len(blocks)} stages; give one for each stage"
            )
        self._pools = is_imagenet(form)
        size, stride = (7, 2) if self._pools else (3, 1)
        stem = nn.Conv2d(in_channels, width, size, stride=stride, padding=size // 2, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=stem, norm=make_norm(norm, width, dims=2)))
        self.stages = nn.Sequential()
        channels = width
        for index, (count, stride) in enumerate(zip(blocks, strides, strict=True)):
            stage = nn.Sequential()
            for step in [stride] + [1] * (count - 1):
                stage.append(block(channels, width * 2**index, step, norm))
                channels = block.expansion * width * 2**index
            self.stages.append(stage)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        x = F.relu(self.stem(x))
        if self._pools:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.stages(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def resnet18(
    num_classes: int = 10,
    in_channels: int = 3,
    width: int = 64,
    norm: NormKind = "batch",
    form: ImageForm = "cifar",
) -> ResNet:
    """Build ResNet-18: 20 norms, 4,800 norm channels at width 64.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: channels of the first stage; the norm channels number ``75 * width``.
        norm: kind of the normalization layers.
        form: ``"cifar"`` for 32x32 images, as in the papers; ``"imagenet"`` for 224x224.

    Returns:
        The network in training mode, initialized from torch's global generator.

    Raises:
        OptionError: ``norm`` or ``form`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, num_classes)``, logits.

    Note:
        With ``norm="instance"`` the input must be larger than 8x8 (32x32 in the ImageNet form): on
        one position per channel an instance norm is undefined and torch refuses to train.

    Reference:
        As :class:`ResNet`; J. Zhang et al., "Passport-aware Normalization for Deep Model
        Protection", NeurIPS 2020, for the capacity of 4,800 bits.

    Example:
        >>> sum(p.numel() for p in resnet18().parameters())
        11173962
    """
    return ResNet(
        [2, 2, 2, 2],
        [1, 2, 2, 2],
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        norm=norm,
        form=form,
    )


def resnet50(
    num_classes: int = 10,
    in_channels: int = 3,
    width: int = 64,
    norm: NormKind = "batch",
    form: ImageForm = "cifar",
) -> ResNet:
    """Build ResNet-50: 53 norms, 26,560 norm channels at width 64.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: channels of the stem; the norm channels number ``415 * width``.
        norm: kind of the normalization layers.
        form: ``"cifar"`` for 32x32 images; ``"imagenet"``, the published one, for 224x224.

    Returns:
        The network in training mode, initialized from torch's global generator.

    Raises:
        OptionError: ``norm`` or ``form`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, num_classes)``, logits.

    Note:
        As for :func:`resnet18`, instance norms need inputs larger than 8x8 (32x32 in the ImageNet
        form).

    Reference:
        As :class:`ResNet`: 25,557,032 parameters with 1,000 classes in the ImageNet form.

    Example:
        >>> sum(p.numel() for p in resnet50(width=8).parameters())
        375762
    """
    return ResNet(
        [3, 4, 6, 3],
        [1, 2, 2, 2],
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        norm=norm,
        block=Bottleneck,
        form=form,
    )


def resnet_small(
    num_classes: int = 10, in_channels: int = 1, width: int = 16, norm: NormKind = "batch"
) -> ResNet:
    """Build a compact ResNet for 8x8 digits: 12 norms, 720 norm channels at width 16.

    One block in each of four stages. The last stage keeps its 2x2 positions: on a single one, eight
    of nine weights of a 3x3 kernel would see nothing but padding. Such weights never train, so they
    would carry a mark for free and flatter every measurement made on this network.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: channels of the first stage; the norm channels number ``45 * width``.
        norm: kind of the normalization layers.

    Returns:
        The network in training mode, initialized from torch's global generator.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``, at least 8x8.
        - Output: ``(N, num_classes)``, logits.

    Example:
        >>> import torch
        >>> resnet_small()(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    return ResNet(
        [1, 1, 1, 1],
        [1, 2, 2, 1],
        num_classes=num_classes,
        in_channels=in_channels,
        width=width,
        norm=norm,
    )
