"""MobileNetV2: inverted residuals with linear bottlenecks."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed.errors import OptionError

from ._forms import ImageForm, is_imagenet
from ._norms import NormKind, make_norm

# Expansion, channels, blocks, and stride of the first block in the ImageNet form.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM, _HEAD = 32, 1280


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, 3x3 on each channel, 1x1 to fewer; a norm behind each.

    ReLU6 follows the first two norms and none the last, so that what passes between blocks is
    linear. Where the shape stays, the input is added to the output.

    Args:
        in_channels: channels that enter.
        channels: channels that leave.
        expansion: channels in between, in units of those that enter; with 1 the first convolution
            is left out.
        stride: stride of the 3x3 convolution.
        norm: kind of the normalization layers.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, channels, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(
        self, in_channels: int, channels: int, *, expansion: int, stride: int, norm: NormKind
    ) -> None:
        super().__init__()
        self._adds = stride == 1 and in_channels == channels
        wide = expansion * in_channels
        self.expand = nn.Sequential()
        if expansion != 1:
            self.expand = _conv_norm(in_channels, wide, 1, norm=norm)
            self.expand.add_module("relu", nn.ReLU6())
        self.depthwise = _conv_norm(wide, wide, 3, stride=stride, groups=wide, norm=norm)
        self.project = _conv_norm(wide, channels, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.project(F.relu6(self.depthwise(self.expand(x))))
        return x + y if self._adds else y


class MobileNetV2(nn.Module):
    """A stem, 17 inverted residuals in seven stages, a 1x1 convolution and a classifier.

    The mean over all positions feeds the classifier, so any image size is accepted. The ImageNet
    form leaves a 32nd of the positions on a side. The CIFAR form keeps the resolution in the stem
    and in the second stage and leaves an eighth: 4x4 positions of an image of 32x32.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: multiplier of all numbers of channels, over 0; they are rounded to multiples of 8,
            by a tenth downwards at most, and the last 1x1 convolution has at least 1,280.
        norm: kind of the 52 normalization layers.
        form: ``"cifar"`` or ``"imagenet"``.

    Raises:
        OptionError: ``norm`` or ``form`` is unknown, or ``width`` is not positive.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, num_classes)``, logits.

    Note:
        A block's last norm is followed by a 1x1 convolution and a norm without a nonlinearity
        between, so with batch or instance norms its bias has no effect, by the architecture.

    Reference:
        M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, "MobileNetV2: Inverted Residuals
        and Linear Bottlenecks", CVPR 2018, table 2; dropout of 0.2 as in the authors' training.

    Example:
        >>> import torch
        >>> net = MobileNetV2(num_classes=4, width=0.25)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        width: float = 1.0,
        norm: NormKind = "batch",
        form: ImageForm = "cifar",
    ) -> None:
        super().__init__()
        if not width > 0:
            raise OptionError(f"width: got {width!r}; give a multiplier over 0, for example 1.0")
        first = 2 if is_imagenet(form) else 1
        channels = _rounded(_STEM * width)
        self.stem = _conv_norm(in_channels, channels, 3, stride=first, norm=norm)
        self.stages = nn.Sequential()
        for index, (expansion, base, count, stride) in enumerate(_STAGES):
            stage, wide = nn.Sequential(), _rounded(base * width)
            for step in [first if index == 1 else stride] + [1] * (count - 1):
                stage.append(
                    InvertedResidual(channels, wide, expansion=expansion, stride=step, norm=norm)
                )
                channels = wide
            self.stages.append(stage)
        features = _rounded(_HEAD * max(1.0, width))
        self.head = _conv_norm(channels, features, 1, norm=norm)
        self.dropout = nn.Dropout(p=0.2)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        x = self.stages(F.relu6(self.stem(x)))
        x = F.relu6(self.head(x)).mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.dropout(x))
        return logits


def _conv_norm(
    in_channels: int, channels: int, size: int, *, stride: int = 1, groups: int = 1, norm: NormKind
) -> nn.Sequential:
    padding = size // 2
    conv = nn.Conv2d(in_channels, channels, size, stride, padding, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=make_norm(norm, channels, dims=2)))


def _rounded(channels: float) -> int:
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def mobilenet_v2(
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    norm: NormKind = "batch",
    form: ImageForm = "cifar",
) -> MobileNetV2:
    """Build MobileNetV2: 52 norms, 17,056 norm channels at width 1; see :class:`MobileNetV2`.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: multiplier of all numbers of channels.
        norm: kind of the normalization layers.
        form: ``"cifar"`` for 32x32 images; ``"imagenet"``, the published one, for 224x224.

    Returns:
        The network in training mode, initialized from torch's global generator.

    Raises:
        OptionError: ``norm`` or ``form`` is unknown, or ``width`` is not positive.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, num_classes)``, logits.

    Reference:
        As :class:`MobileNetV2`: 3,504,872 parameters with 1,000 classes.

    Example:
        >>> sum(p.numel() for p in mobilenet_v2(num_classes=1000).parameters())
        3504872
    """
    return MobileNetV2(num_classes, in_channels, width, norm, form)
