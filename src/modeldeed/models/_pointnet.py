"""The PointNet classifier for unordered point clouds."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._norms import NormKind, make_norm


class AlignmentNet(nn.Module):
    """A T-Net: predicts from a point set the matrix its features are multiplied by.

    The last layer starts at zero and its output is added to the identity, so that training starts
    from an unaligned network and weight decay pulls towards the identity rather than to zero.

    Args:
        size: number of features k of each point.
        norm: kind of the normalization layers.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, k, P)``.
        - Output: ``(N, k, k)``.

    Reference:
        C. R. Qi, H. Su, K. Mo, L. J. Guibas, "PointNet: Deep Learning on Point Sets for 3D
        Classification and Segmentation", CVPR 2017, supplementary material C.
    """

    identity: Tensor

    def __init__(self, size: int, norm: NormKind = "batch") -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(size, 64, 1, bias=False)
        self.norm1 = make_norm(norm, 64, dims=1)
        self.conv2 = nn.Conv1d(64, 128, 1, bias=False)
        self.norm2 = make_norm(norm, 128, dims=1)
        self.conv3 = nn.Conv1d(128, 1024, 1, bias=False)
        self.norm3 = make_norm(norm, 1024, dims=1)
        self.fc1 = nn.Linear(1024, 512, bias=False)
        self.norm4 = make_norm(norm, 512, dims=0)
        self.fc2 = nn.Linear(512, 256, bias=False)
        self.norm5 = make_norm(norm, 256, dims=0)
        self.fc3 = nn.Linear(256, size * size)
        nn.init.zeros_(self.fc3.weight)
        nn.init.zeros_(self.fc3.bias)
        # A constant of the architecture: it moves with the module but is no part of a checkpoint.
        self.register_buffer("identity", torch.eye(size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return one alignment matrix per point set."""
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        x = F.relu(self.norm3(self.conv3(x))).max(dim=2).values
        x = F.relu(self.norm4(self.fc1(x)))
        x = F.relu(self.norm5(self.fc2(x)))
        offset: Tensor = self.fc3(x).unflatten(1, self.identity.shape)
        return self.identity + offset


class PointNet(nn.Module):
    """PointNet: shared per-point layers, a maximum over the points, three linear layers.

    The output does not depend on the order of the points. The trunk has 1,984 norm channels
    (64 + 128 + 1024 + 512 + 256), each of the two T-Nets as many again.

    Args:
        num_classes: number of classes.
        norm: kind of the normalization layers; ``instance`` becomes ``layer`` behind the linear
            layers, where a sample has no positions.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, P, 3)``, point clouds as users hold them: one row of x, y, z per point.
        - Output: ``(N, num_classes)``, logits.

    Reference:
        C. R. Qi, H. Su, K. Mo, L. J. Guibas, "PointNet: Deep Learning on Point Sets for 3D
        Classification and Segmentation", CVPR 2017. As in the passport papers, the shared layers
        are 64, 128, 1024 wide with the feature T-Net behind the first; the original has two more
        of width 64.

    Example:
        >>> import torch
        >>> net = PointNet(num_classes=20)
        >>> net(torch.zeros(2, 32, 3)).shape
        torch.Size([2, 20])
    """

    def __init__(self, num_classes: int = 20, norm: NormKind = "batch") -> None:
        super().__init__()
        self.input_transform = AlignmentNet(3, norm)
        self.conv1 = nn.Conv1d(3, 64, 1, bias=False)
        self.norm1 = make_norm(norm, 64, dims=1)
        self.feature_transform = AlignmentNet(64, norm)
        self.conv2 = nn.Conv1d(64, 128, 1, bias=False)
        self.norm2 = make_norm(norm, 128, dims=1)
        self.conv3 = nn.Conv1d(128, 1024, 1, bias=False)
        self.norm3 = make_norm(norm, 1024, dims=1)
        self.fc1 = nn.Linear(1024, 512, bias=False)
        self.norm4 = make_norm(norm, 512, dims=0)
        self.fc2 = nn.Linear(512, 256, bias=False)
        self.norm5 = make_norm(norm, 256, dims=0)
        self.dropout = nn.Dropout(p=0.3)
        self.classifier = nn.Linear(256, num_classes)

    def forward(self, points: Tensor) -> Tensor:
        """Return the logits of a batch of point clouds."""
        return self.forward_with_transform(points)[0]

    def forward_with_transform(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits together with the feature T-Net's matrices.

        For training with the regularizer of the paper, which needs both from one forward.

        Args:
            points: point clouds, ``(N, P, 3)``, float.

        Returns:
            Logits ``(N, num_classes)`` and transforms ``(N, 64, 64)``.

        Example:
            >>> import torch
            >>> logits, transform = PointNet().forward_with_transform(torch.zeros(2, 32, 3))
            >>> float(orthogonality(transform).detach())
            0.0
        """
        x = points.transpose(1, 2)
        x = torch.bmm(self.input_transform(x), x)
        x = F.relu(self.norm1(self.conv1(x)))
        transform = self.feature_transform(x)
        x = torch.bmm(transform, x)
        x = F.relu(self.norm2(self.conv2(x)))
        x = F.relu(self.norm3(self.conv3(x))).max(dim=2).values
        x = F.relu(self.norm4(self.fc1(x)))
        x = F.relu(self.norm5(self.fc2(x)))
        return self.classifier(self.dropout(x)), transform


def orthogonality(transform: Tensor) -> Tensor:
    """Measure how far matrices are from orthogonal: the mean of ``|I - A A^T|_F^2``.

    The paper adds it to the loss with weight 0.001, for the 64x64 feature transform only: an
    orthogonal matrix loses no information, and a free one of that size is hard to train.

    Args:
        transform: square matrices A, ``(N, k, k)``, float.

    Returns:
        A scalar tensor, at least 0, differentiable.

    Reference:
        C. R. Qi et al., "PointNet", CVPR 2017, equation 2.

    Example:
        >>> import torch
        >>> float(orthogonality(2 * torch.eye(3).unsqueeze(0)))
        27.0
    """
    identity = torch.eye(transform.shape[-1], dtype=transform.dtype, device=transform.device)
    difference = identity - transform @ transform.transpose(-1, -2)
    return difference.square().sum(dim=(-1, -2)).mean()


def pointnet(num_classes: int = 20, norm: NormKind = "batch") -> PointNet:
    """Build the PointNet classifier; see :class:`PointNet`.

    Args:
        num_classes: number of classes.
        norm: kind of the normalization layers.

    Returns:
        The network in training mode, initialized from torch's global generator.

    Raises:
        OptionError: ``norm`` is unknown.

    Shape:
        - Input: ``(N, P, 3)``.
        - Output: ``(N, num_classes)``, logits.

    Example:
        >>> import torch
        >>> pointnet(num_classes=5)(torch.zeros(2, 16, 3)).shape
        torch.Size([2, 5])
    """
    return PointNet(num_classes, norm)
