"""Random augmentation of a whole batch at once, from an explicit generator."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from modeldeed.errors import OptionError


def augment_images(
    x: Tensor, generator: torch.Generator, pad: int = 4, flip: bool = True
) -> Tensor:
    """Crop each image at random out of its zero-padded self and mirror half of them.

    Args:
        x: images, ``(N, C, H, W)``. Zero is black, or the mean after normalization.
        generator: source of the randomness, on any device. The same state gives the same shifts on
            whatever device the images are.
        pad: largest shift in pixels, at least 0; 0 switches shifts off.
        flip: whether to mirror each image left to right with probability one half; not for digits
            and letters.

    Returns:
        A new tensor of the same shape and dtype.

    Raises:
        OptionError: ``pad`` is negative or ``x`` has not four axes.

    Note:
        One gather for the whole batch: 1 ms for 128 images of 3x32x32 on one CPU core.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> augment_images(torch.rand(8, 3, 32, 32), generator).shape
        torch.Size([8, 3, 32, 32])
    """
    if pad < 0:
        raise OptionError(f"pad: got {pad}; give at least 0")
    if x.ndim != 4:
        raise OptionError(f"x: got shape {tuple(x.shape)}; expected images (N, C, H, W)")
    n, c, h, w = x.shape
    drawn_on = generator.device
    shifts = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator, device=drawn_on)
    top, left = shifts.to(x.device)
    rows = top + torch.arange(h, device=x.device)
    columns = left + torch.arange(w, device=x.device)
    if flip:
        mirrored = (_uniform(n, generator) < 0.5).to(x.device)[:, None]
        columns = torch.where(mirrored, columns.flip(1), columns)
    # Flat positions in the padded image; gather is three times as fast as indexing with four axes.
    index = rows[:, :, None] * (w + 2 * pad) + columns[:, None, :]
    index = index.reshape(n, 1, h * w).expand(n, c, h * w)
    return F.pad(x, (pad, pad, pad, pad)).flatten(2).gather(2, index).view(n, c, h, w)


def augment_points(
    x: Tensor,
    generator: torch.Generator,
    *,
    rotate: bool = True,
    jitter: float = 0.01,
    scale: tuple[float, float] = (0.8, 1.25),
) -> Tensor:
    """Rotate each point cloud about the y axis, scale it, and move its points a little.

    Args:
        x: point clouds, ``(N, P, 3)``, float, y up.
        generator: source of the randomness, on any device.
        rotate: whether to rotate each cloud by an angle uniform over the full circle.
        jitter: standard deviation of the noise on each coordinate, cut at five times as much; 0
            switches it off.
        scale: smallest and largest factor, drawn uniformly for each cloud.

    Returns:
        A new tensor of the same shape and dtype.

    Raises:
        OptionError: ``x`` is not ``(N, P, 3)``, ``jitter`` is negative, or ``scale`` is not a
            range of positive numbers.

    Reference:
        C. R. Qi et al., "PointNet", CVPR 2017: rotation about the up axis, noise of standard
        deviation 0.01 on each coordinate. The scaling is that of later work.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> augment_points(torch.rand(4, 16, 3), generator).shape
        torch.Size([4, 16, 3])
    """
    low, high = scale
    if x.ndim != 3 or x.shape[-1] != 3:
        raise OptionError(f"x: got shape {tuple(x.shape)}; expected point clouds (N, P, 3)")
    if jitter < 0 or not 0 < low <= high:
        raise OptionError(
            f"got jitter {jitter} and scale {scale}; expected jitter >= 0 and 0 < low <= high"
        )
    factor = low + (high - low) * _uniform(len(x), generator)
    angle = 2 * math.pi * _uniform(len(x), generator) * rotate
    matrices = factor[:, None, None] * _rotations_about_y(angle)
    moved: Tensor = x @ matrices.to(x)
    if jitter:
        noise = (
            torch.randn(x.shape, generator=generator, device=generator.device)
            .clamp_(-5, 5)
            .mul_(jitter)
        )
        moved += noise.to(x)
    return moved


def _uniform(number: int, generator: torch.Generator) -> Tensor:
    return torch.rand(number, generator=generator, device=generator.device)


def _rotations_about_y(angle: Tensor) -> Tensor:
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cos, zero, sin, zero, zero + 1, zero, -sin, zero, cos]
    return torch.stack(rows, dim=-1).view(-1, 3, 3)
