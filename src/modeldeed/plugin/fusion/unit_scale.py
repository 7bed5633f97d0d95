"""From what a target takes back to the unit scale and layout that a detector looks at."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeldeed.errors import OptionError
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["UnitScale"]

_STEPS = {torch.uint8: 255.0, torch.int16: 2.0**15}


class UnitScale(nn.Module):
    """Undoes a `Preparation`: mean and deviation, and layouts.

    A target that takes canonical integers itself is served as well: they are divided by their
    range.

    Args:
        preparation: of the target's inputs; None for unit scale in the canonical layout.

    Shape:
        images ``(N, C, H, W)`` or ``(N, H, W, C)``; points ``(N, P, 3)`` or ``(N, 3, P)``; audio
        ``(N, L)`` or ``(N, 1, L)``. The output has the first of these layouts, images in [0, 1],
        points and audio in [-1, 1).

    Raises:
        OptionError: the preparation is no `Preparation`; in a call: samples of another form.

    Example:
        >>> scale = UnitScale(Preparation(mean=(0.5,), std=(0.25,)))
        >>> scale(torch.full((1, 1, 1, 2), 2.0), torch.float32).flatten().tolist()
        [1.0, 1.0]
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, preparation: Preparation | None = None) -> None:
        super().__init__()
        if not isinstance(preparation, Preparation | None):
            raise OptionError(
                f"only a Preparation can be undone, got {preparation!r}; give the Preparation that "
                "describes the target's inputs, or None where they are in unit scale"
            )
        self.preparation = preparation or Preparation()
        for name in ("mean", "std"):
            numbers = getattr(self.preparation, name)
            self.register_buffer(
                name, None if numbers is None else torch.tensor(numbers)[:, None, None]
            )

    def forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Bring samples to unit scale.

        Args:
            x: what the target takes.
            dtype: of the result.
        """
        laid_out = self._laid_out(x)
        if not x.is_floating_point():
            if x.dtype not in _STEPS:
                raise OptionError(f"samples are floating point, uint8 or int16, got {x.dtype}")
            return laid_out.to(dtype) / _STEPS[x.dtype]
        values = laid_out.to(dtype)
        if self.mean is None or self.std is None:
            return values
        if x.dim() != 4 or values.shape[1] != len(self.mean):
            raise OptionError(
                f"the preparation has mean and std of {len(self.mean)} channels, the samples have "
                f"the shape {tuple(x.shape)}; fuse with the preparation of the target's inputs"
            )
        return values * self.std.to(dtype) + self.mean.to(dtype)

    def _laid_out(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return x if self.preparation.images == "NCHW" else x.permute(0, 3, 1, 2)
        if x.dim() == 3:
            if self.preparation.audio == "N1L" and x.shape[1] == 1:
                return x[:, 0]
            return x if self.preparation.points == "NP3" else x.transpose(1, 2)
        if x.dim() == 2:
            return x
        raise OptionError(
            f"samples are images (4 dimensions), points (3) or audio (2), got {tuple(x.shape)}; "
            "fuse with input= naming the argument that holds them"
        )

    def extra_repr(self) -> str:
        """The preparation that is undone."""
        return repr(self.preparation)
