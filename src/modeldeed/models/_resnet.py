"""Residual networks for small images."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed.errors import OptionError

from ._norms import NormKind, make_norm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with norms beside a shortcut; ReLU only after the addition.

    The shortcut is the identity, or a 1x1 convolution with a norm where the shape changes. No ReLU
    stands between a branch's last norm and the addition: the blocks released with the passport
    papers have one there, which makes another architecture of them.

    Args:
        in_channels: channels that enter.
        channels: channels that leave.
        stride: stride of the first convolution and of the shortcut.
        norm: kind of the normalization layers.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, channels, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, norm: NormKind) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = make_norm(norm, channels, dims=2)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = make_norm(norm, channels, dims=2)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            conv = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            parts = OrderedDict(conv=conv, norm=make_norm(norm, channels, dims=2))
            self.shortcut = nn.Sequential(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        residual = F.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(residual))
        return F.relu(residual + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network of basic blocks with a 3x3 stem and no max-pool.

    Stage ``i`` has ``width * 2**i`` channels. The mean over all positions feeds one linear
    classifier, so any image size is accepted.

    Args:
        blocks: number of basic blocks in each stage.
        strides: stride of each stage's first block; as many entries as ``blocks``.
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: channels of the stem and of the first stage.
        norm: kind of the normalization layers.

    Raises:
        OptionError: ``norm`` is unknown, or ``blocks`` and ``strides`` differ in length.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, num_classes)``, logits.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
        with the stem that is customary for CIFAR in place of the 7x7 convolution and max-pool.

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
    ) -> None:
        super().__init__()
        if len(blocks) != len(strides):
            raise OptionError(
                f"strides: got {len(strides)} for {len(blocks)} stages; give one for each stage"
            )
        stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=stem, norm=make_norm(norm, width, dims=2)))
        self.stages = nn.Sequential()
        channels = width
        for index, (count, stride) in enumerate(zip(blocks, strides, strict=True)):
            stage = nn.Sequential()
            for step in [stride] + [1] * (count - 1):
                stage.append(BasicBlock(channels, width * 2**index, step, norm))
                channels = width * 2**index
            self.stages.append(stage)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        x = self.stages(F.relu(self.stem(x)))
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def resnet18(
    num_classes: int = 10, in_channels: int = 3, width: int = 64, norm: NormKind = "batch"
) -> ResNet:
    """Build the CIFAR form of ResNet-18: 20 norms, 4,800 norm channels at width 64.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: channels of the first stage; the norm channels number ``75 * width``.
        norm: kind of the normalization layers.

    Returns:
        The network in training mode, initialized from torch's global generator.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``, 32x32 in the papers.
        - Output: ``(N, num_classes)``, logits.

    Note:
        With ``norm="instance"`` the input must be larger than 8x8: on one position per channel an
        instance norm is undefined and torch refuses to train.

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
