"""What makes a PointNet one: point order, identity start, the orthogonality regularizer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modeldeed import models


def trained_like(norm: models.NormKind = "batch") -> models.PointNet:
    """Build a PointNet whose T-Nets no longer predict the identity."""
    torch.manual_seed(0)
    net = models.pointnet(num_classes=5, norm=norm)
    for transform in (net.input_transform, net.feature_transform):
        torch.nn.init.normal_(transform.fc3.weight, std=0.1)
    return net.eval()


@pytest.mark.parametrize("norm", models.NORM_KINDS)
def test_the_order_of_the_points_does_not_matter(norm: models.NormKind) -> None:
    net = trained_like(norm)
    x = torch.randn(3, 40, 3)
    shuffled = x[:, torch.randperm(40)]
    torch.testing.assert_close(net(shuffled), net(x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(net(x), net(x + torch.randn_like(x)))


def test_repeating_points_changes_nothing() -> None:
    net = trained_like()
    x = torch.randn(2, 10, 3)
    torch.testing.assert_close(net(x.repeat(1, 3, 1)), net(x), rtol=1e-4, atol=1e-5)


def test_both_transforms_start_at_the_identity() -> None:
    net = models.pointnet().eval()
    x = torch.randn(4, 30, 3)
    assert torch.equal(net.input_transform(x.mT), torch.eye(3).expand(4, 3, 3))
    assert torch.equal(net.forward_with_transform(x)[1], torch.eye(64).expand(4, 64, 64))


def test_the_transform_multiplies_the_coordinates_of_each_point() -> None:
    net = models.pointnet(num_classes=5).eval()
    x = torch.randn(2, 30, 3)
    rotation = torch.linalg.qr(torch.randn(3, 3)).Q
    expected = net(x @ rotation.T)
    with torch.no_grad():  # the input T-Net now answers with this rotation for every cloud
        net.input_transform.fc3.bias.copy_((rotation - torch.eye(3)).flatten())
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)


def test_forward_with_transform_returns_the_same_logits() -> None:
    net = trained_like()
    x = torch.randn(2, 30, 3)
    assert torch.equal(net.forward_with_transform(x)[0], net(x))


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    net = models.pointnet(norm="layer")
    x = torch.randn(2, 30, 3)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


def test_the_identity_is_no_part_of_a_checkpoint() -> None:
    assert not [key for key in models.pointnet().state_dict() if "identity" in key]


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_orthogonal_matrices_cost_nothing(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    orthogonal = torch.linalg.qr(matrix).Q
    assert float(models.orthogonality(orthogonal)) < 1e-20


def slow_orthogonality(transform: Tensor) -> float:
    """Sum (I - A A^T)^2 entry by entry, averaged over the matrices."""
    total = 0.0
    for a in transform.tolist():
        for i, row in enumerate(a):
            for j, other in enumerate(a):
                product = sum(p * q for p, q in zip(row, other, strict=True))
                total += ((i == j) - product) ** 2
    return total / len(transform)


def test_orthogonality_equals_its_definition() -> None:
    transform = torch.randn(3, 4, 4, dtype=torch.float64)
    assert float(models.orthogonality(transform)) == pytest.approx(slow_orthogonality(transform))


def test_descending_on_the_regularizer_makes_a_matrix_orthogonal() -> None:
    torch.manual_seed(0)
    transform = (torch.eye(4) + 0.3 * torch.randn(1, 4, 4)).requires_grad_()
    before = float(models.orthogonality(transform).detach())
    for _ in range(200):
        (gradient,) = torch.autograd.grad(models.orthogonality(transform), transform)
        transform.data.sub_(0.05 * gradient)
    assert float(models.orthogonality(transform).detach()) < 1e-6 < before
