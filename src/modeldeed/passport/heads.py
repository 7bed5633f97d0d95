"""Heads: from the readings (r_γ, r_β) of a layer to the private scale and bias (γ₁, β₁).

A head decides two things: how well the private branch can be trained, and whether it tells the
owner's key from another one once batch statistics are re-estimated. A head whose output hardly
depends on the key trains best and proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from modeldeed.errors import OptionError
from modeldeed.streams import KeyStream

__all__ = ["HEADS", "Head", "make_head"]

_SLOPE = 0.01


class Head(Protocol):
    """Maps readings to scale and bias; both of shape ``(C,)``, float32."""

    def __call__(self, r_gamma: Tensor, r_beta: Tensor) -> tuple[Tensor, Tensor]:
        """Return (γ₁, β₁)."""
        ...


class LearnedHead(nn.Module):
    """The published head: C → C/4 → C, shared by scale and bias, trained with the host.

    Its free parameters let anyone fit any passport, so a claim with it rests on the signature
    alone and its private branch is an observation only.

    Shape:
        Input: two readings of shape ``(C,)``. Output: γ₁ and β₁ of shape ``(C,)``.

    Reference:
        J. Zhang et al., NeurIPS 2020: γ₁ = h(F(p_γ)), β₁ = h(F(p_β)).
    """

    def __init__(self, key: bytes, ordinal: int, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 4)
        stream = KeyStream(key, "learned-head", ordinal)
        # PyTorch's default initialization of a linear layer, but from the key: reproducible.
        self.inner = nn.Parameter(stream.uniform(hidden, channels) / channels**0.5)
        self.outer = nn.Parameter(stream.uniform(channels, hidden) / hidden**0.5)

    def _mapped(self, r: Tensor) -> Tensor:
        return self.outer @ nn.functional.leaky_relu(self.inner @ r, _SLOPE)

    def forward(self, r_gamma: Tensor, r_beta: Tensor) -> tuple[Tensor, Tensor]:
        """Return (γ₁, β₁)."""
        return self._mapped(r_gamma), self._mapped(r_beta)


class KeyedHead(nn.Module):
    """A head without free parameters: its weights come from the key and are never trained."""

    def __init__(self, key: bytes, ordinal: int, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 4)
        stream = KeyStream(key, "keyed-head", ordinal)
        # Entries of variance 1/fan-in keep unit-variance readings at about unit variance.
        inner = stream.uniform(hidden, channels) * (3 / channels) ** 0.5
        outer = stream.uniform(channels, hidden) * (6 / hidden) ** 0.5
        sign = 1.0 - 2.0 * (stream.integers(4, channels) == 0).float()
        self.inner: Tensor
        self.outer: Tensor
        self.sign: Tensor
        self.register_buffer("inner", inner)
        self.register_buffer("outer", outer)
        self.register_buffer("sign", sign)

    def _mapped(self, r: Tensor) -> Tensor:
        return self.outer @ nn.functional.leaky_relu(self.inner @ r, _SLOPE)

    def forward(self, r_gamma: Tensor, r_beta: Tensor) -> tuple[Tensor, Tensor]:
        """Return (γ₁, β₁)."""
        gamma = self.sign * (1 + 0.5 * torch.tanh(self._mapped(r_gamma)))
        return gamma, 0.5 * torch.tanh(self._mapped(r_beta))


HEADS: dict[str, Callable[[bytes, int, int], nn.Module]] = {
    "learned": LearnedHead,
    "keyed": KeyedHead,
}


def make_head(name: str, key: bytes, ordinal: int, channels: int) -> nn.Module:
    """Build the head of one layer.

    Args:
        name: a name in `HEADS`.
        key: the model key.
        ordinal: the layer's place in the canonical list.
        channels: C.

    Raises:
        OptionError: no head has that name.
    """
    if name not in HEADS:
        raise OptionError(f"head {name!r} is unknown; there are: {', '.join(HEADS)}")
    return HEADS[name](key, ordinal, channels)
