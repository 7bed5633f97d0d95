"""The blocks that residual networks are built of."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

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

    expansion = 1
    """Channels that leave, in units of those of its 3x3 convolutions."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm: NormKind) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = make_norm(norm, channels, dims=2)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = make_norm(norm, channels, dims=2)
        self.shortcut = _shortcut(in_channels, channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        residual = F.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(residual))
        return F.relu(residual + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with norms beside a shortcut; ReLU after the addition.

    The first convolution leaves a quarter of the channels, the last brings them back.

    Args:
        in_channels: channels that enter.
        channels: channels of the 3x3 convolution; four times as many leave.
        stride: stride of the 3x3 convolution and of the shortcut.
        norm: kind of the normalization layers.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``.
        - Output: ``(N, 4 * channels, ceil(H / stride), ceil(W / stride))``.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
        There the stride is that of the first 1x1 convolution, which throws three of four positions
        away; as in every library since, here it is that of the 3x3 convolution.
    """

    expansion = 4
    """Channels that leave, in units of those of its 3x3 convolution."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm: NormKind) -> None:
        super().__init__()
        wide = self.expansion * channels
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm1 = make_norm(norm, channels, dims=2)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = make_norm(norm, channels, dims=2)
        self.conv3 = nn.Conv2d(channels, wide, 1, bias=False)
        self.norm3 = make_norm(norm, wide, dims=2)
        self.shortcut = _shortcut(in_channels, wide, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        residual = F.relu(self.norm1(self.conv1(x)))
        residual = F.relu(self.norm2(self.conv2(residual)))
        residual = self.norm3(self.conv3(residual))
        return F.relu(residual + self.shortcut(x))


def _shortcut(in_channels: int, channels: int, stride: int, norm: NormKind) -> nn.Sequential:
    if stride == 1 and in_channels == channels:
        return nn.Sequential()
    conv = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=make_norm(norm, channels, dims=2)))
