"""VGG-16: thirteen 3x3 convolutions in five blocks."""

from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed.errors import OptionError

from ._forms import ImageForm, is_imagenet
from ._norms import NORM_KINDS, NormKind, make_norm

# Channels of each block in units of the first block's, one entry for each of its convolutions.
_BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
_GRID = 7  # positions on a side before the linear layers of the ImageNet form


class VGG(nn.Module):
    """Five blocks of 3x3 convolutions with a ReLU each; a 2x2 max-pool ends every block.

    The ImageNet form averages what is left to 7x7 positions, which changes nothing for images of
    224x224, and ends in three linear layers with dropout between them, where nine tenths of its
    parameters are. The CIFAR form takes the mean over all positions, a single one for images of
    32x32, and one linear layer, as is customary there.

    The convolutions start from He's normal distribution and zero biases: with torch's default the
    signal of a network this deep dies out on the way if there is no norm to restore it.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: channels of the first block; the linear layers are 64 times as wide.
        norm: kind of the 13 normalization layers; None for none. With norms the convolutions have
            no bias, since the norm behind each has one.
        form: ``"cifar"`` or ``"imagenet"``.

    Raises:
        OptionError: ``norm`` or ``form`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``, at least 32x32.
        - Output: ``(N, num_classes)``, logits.

    Reference:
        K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
        Recognition", ICLR 2015, configuration D. It has no norms; with them, libraries often keep
        the 4,224 biases of the convolutions, which then do nothing.

    Example:
        >>> import torch
        >>> net = VGG(num_classes=4, width=4)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 64,
        norm: NormKind | None = "batch",
        form: ImageForm = "cifar",
    ) -> None:
        super().__init__()
        if norm is not None and norm not in NORM_KINDS:
            choices = ", ".join(map(repr, NORM_KINDS))
            raise OptionError(f"norm: got {norm!r}; choose one of {choices}, or None")
        self._averages = not is_imagenet(form)
        self.blocks = nn.Sequential()
        channels = in_channels
        for factors in _BLOCKS:
            block = nn.Sequential()
            for factor in factors:
                block.append(_Unit(channels, factor * width, norm))
                channels = factor * width
            block.append(nn.MaxPool2d(2))
            self.blocks.append(block)
        if self._averages:
            self.classifier: nn.Module = nn.Linear(channels, num_classes)
        else:
            self.classifier = _linear_layers(channels * _GRID**2, 64 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        x = self.blocks(x)
        x = x.mean(dim=(2, 3)) if self._averages else F.adaptive_avg_pool2d(x, _GRID).flatten(1)
        logits: Tensor = self.classifier(x)
        return logits


class _Unit(nn.Module):
    def __init__(self, in_channels: int, channels: int, norm: NormKind | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=norm is None)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        self.norm = nn.Identity() if norm is None else make_norm(norm, channels, dims=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


def _linear_layers(features: int, hidden: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, num_classes),
    )


def vgg16(
    num_classes: int = 10,
    in_channels: int = 3,
    width: int = 64,
    norm: NormKind | None = "batch",
    form: ImageForm = "cifar",
) -> VGG:
    """Build VGG-16: 13 norms or none, 4,224 norm channels at width 64; see :class:`VGG`.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        width: channels of the first block; the norm channels number ``66 * width``.
        norm: kind of the normalization layers; None for none, as published.
        form: ``"cifar"`` for 32x32 images; ``"imagenet"``, the published one, for 224x224.

    Returns:
        The network in training mode, initialized from torch's global generator.

    Raises:
        OptionError: ``norm`` or ``form`` is unknown.

    Shape:
        - Input: ``(N, in_channels, H, W)``, at least 32x32.
        - Output: ``(N, num_classes)``, logits.

    Reference:
        As :class:`VGG`: 138,357,544 parameters with 1,000 classes, without norms, in the ImageNet
        form.

    Example:
        >>> sum(p.numel() for p in vgg16(width=8, norm=None).parameters())
        231218
    """
    return VGG(num_classes, in_channels, width, norm, form)
