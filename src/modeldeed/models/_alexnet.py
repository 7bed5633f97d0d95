"""The CIFAR form of AlexNet which the passport papers use."""

from torch import Tensor, nn
from torch.nn import functional as F

from ._norms import NormKind, make_norm


class AlexNet(nn.Module):
    """Five convolutions, each with a norm and a ReLU, and one linear classifier.

    The kernels are 5x5, 5x5, 3x3, 3x3, 3x3; a 2x2 max-pool follows the first, second and fifth
    block. The convolutions have no bias, since the norm behind each has one.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        norm: kind of the five normalization layers.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, in_channels, 32, 32)``.
        - Output: ``(N, num_classes)``, logits.

    Reference:
        L. Fan, K. W. Ng, C. S. Chan, "Rethinking Deep Neural Network Ownership Verification",
        NeurIPS 2019, and J. Zhang et al., "Passport-aware Normalization for Deep Model Protection",
        NeurIPS 2020: 1,152 norm channels (bits), 2,493,386 parameters with ten classes.

    Example:
        >>> import torch
        >>> net = AlexNet(num_classes=10)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 3, norm: NormKind = "batch"
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=5, padding=2, bias=False)
        self.norm1 = make_norm(norm, 64, dims=2)
        self.conv2 = nn.Conv2d(64, 192, kernel_size=5, padding=2, bias=False)
        self.norm2 = make_norm(norm, 192, dims=2)
        self.conv3 = nn.Conv2d(192, 384, kernel_size=3, padding=1, bias=False)
        self.norm3 = make_norm(norm, 384, dims=2)
        self.conv4 = nn.Conv2d(384, 256, kernel_size=3, padding=1, bias=False)
        self.norm4 = make_norm(norm, 256, dims=2)
        self.conv5 = nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=False)
        self.norm5 = make_norm(norm, 256, dims=2)
        self.classifier = nn.Linear(256 * 4 * 4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = F.relu(self.norm3(self.conv3(x)))
        x = F.relu(self.norm4(self.conv4(x)))
        x = F.max_pool2d(F.relu(self.norm5(self.conv5(x))), 2)
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


def alexnet(num_classes: int = 10, in_channels: int = 3, norm: NormKind = "batch") -> AlexNet:
    """Build the passport papers' AlexNet for 32x32 images; see :class:`AlexNet`.

    Args:
        num_classes: number of classes.
        in_channels: channels of the input images.
        norm: kind of the normalization layers.

    Returns:
        The network in training mode, initialized from torch's global generator.

    Raises:
        OptionError: ``norm`` is unknown.

    Example:
        >>> sum(p.numel() for p in alexnet().parameters())
        2493386
    """
    return AlexNet(num_classes, in_channels, norm)
