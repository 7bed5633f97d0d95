"""Heads: from the readings (r_γ, r_β) of a layer to the private scale and bias (γ₁, β₁).

A head decides two things: how well the private branch can be trained, and whether it tells the
owner's key from another one once batch statistics are re-estimated. A head whose output hardly
depends on the key trains best and proves nothing.

Heads see readings in sign-canonical form, c·r with c the sign of the public scale, and their γ₁
is multiplied by c again: flipping a row and its scale together changes neither branch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from modeldeed.errors import OptionError
from modeldeed.streams import KeyStream

__all__ = ["HEADS", "Head", "KeyedHead", "keyed_affine", "make_head"]

_SLOPE = 0.01
_TINY = 1e-12


class Head(Protocol):
    """Maps stacked readings (r_γ, r_β), ``(2, C)`` float32, to scale and bias, each ``(C,)``."""

    def __call__(self, readings: Tensor) -> tuple[Tensor, Tensor]:
        """Return (γ₁, β₁)."""
        ...


class LearnedHead(nn.Module):
    """The published head: C → C/4 → C, shared by scale and bias, trained with the host.

    Its free parameters let anyone fit any passport, so a claim with it rests on the signature
    alone and its private branch is an observation only. Readings come in at unit mean square:
    the signature drives them to five and more standard deviations, and a free head that sees
    them raw, every few steps only, was thrown off for good (not a number within 12 epochs).

    Shape:
        Input: the two readings, ``(2, C)``. Output: γ₁ and β₁, each ``(C,)``.

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

    def forward(self, readings: Tensor) -> tuple[Tensor, Tensor]:
        """Return (γ₁, β₁)."""
        gamma, beta = _two_layers(_unit(readings), self.inner, self.outer)
        return gamma, beta


class KeyedHead(nn.Module):
    """A head without free parameters: its weights come from the key and are never trained.

    γ₁ = s (1 + ½ tanh h(u_γ)) and β₁ = ½ tanh h(u_β), where u is a reading scaled to unit mean
    square, h is C → C/4 → C with keyed weights, and s ∈ {−1, +1}. The skip form (s = 1) trains
    best but hardly depends on the key: once statistics are re-estimated, wrong keys do as well.
    Turning the sign of a keyed half of the channels makes wrong keys fail; doing so only in the
    last third of the norms costs the private branch least.

    Args:
        key: the model key.
        ordinal: the layer's place in the canonical list.
        channels: C.
        turned: whether a keyed half of this layer's channels has s = −1.

    Shape:
        Input: the two readings, ``(2, C)``. Output: γ₁ and β₁, each ``(C,)``.
    """

    def __init__(self, key: bytes, ordinal: int, channels: int, *, turned: bool) -> None:
        super().__init__()
        hidden = max(1, channels // 4)
        stream = KeyStream(key, "keyed-head", ordinal)
        # Uniform entries have variance ⅓; these scales keep h at about unit variance.
        inner = stream.uniform(hidden, channels) * (3 / channels) ** 0.5
        outer = stream.uniform(channels, hidden) * (6 / hidden) ** 0.5
        sign = torch.ones(channels)
        if turned:
            order = stream.uniform(channels).argsort(stable=True)
            sign[order[: channels // 2]] = -1
        self.inner: Tensor
        self.outer: Tensor
        self.sign: Tensor
        self.register_buffer("inner", inner)
        self.register_buffer("outer", outer)
        self.register_buffer("sign", sign)

    def forward(self, readings: Tensor) -> tuple[Tensor, Tensor]:
        """Return (γ₁, β₁)."""
        gamma, beta = keyed_affine(readings, self.inner, self.outer, self.sign)
        return gamma, beta


def keyed_affine(
    readings: Tensor, inner: Tensor, outer: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor]:
    """The keyed head's formula, for one layer or for stacked ones of the same width.

    Args:
        readings: r_γ and r_β, ``(*, 2, C)``.
        inner: first weights of h, ``(*, H, C)``.
        outer: second weights of h, ``(*, C, H)``.
        sign: s, ``(*, C)``.

    Returns:
        γ₁ and β₁, each ``(*, C)``.
    """
    hidden = nn.functional.leaky_relu(_unit(readings) @ inner.mT, _SLOPE)
    gamma, beta = (0.5 * torch.tanh(hidden @ outer.mT)).unbind(-2)
    return sign * (1 + gamma), beta


def _unit(readings: Tensor) -> Tensor:
    """Readings scaled to unit mean square."""
    return readings * (readings.square().mean(-1, keepdim=True) + _TINY).rsqrt()


def _two_layers(r: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    linear = nn.functional.linear
    return linear(nn.functional.leaky_relu(linear(r, inner), _SLOPE), outer)


HeadMaker = Callable[[bytes, int, int, int], nn.Module]
"""(key, ordinal, channels, number of layers) → the head of that layer."""


def _learned(key: bytes, ordinal: int, channels: int, _layers: int) -> nn.Module:
    return LearnedHead(key, ordinal, channels)


def _keyed(key: bytes, ordinal: int, channels: int, layers: int) -> nn.Module:
    return KeyedHead(key, ordinal, channels, turned=ordinal >= layers - -(-layers // 3))


def _keyed_everywhere(key: bytes, ordinal: int, channels: int, _layers: int) -> nn.Module:
    return KeyedHead(key, ordinal, channels, turned=True)


def _skip(key: bytes, ordinal: int, channels: int, _layers: int) -> nn.Module:
    return KeyedHead(key, ordinal, channels, turned=False)


HEADS: dict[str, HeadMaker] = {
    "keyed": _keyed,
    "keyed-everywhere": _keyed_everywhere,
    "learned": _learned,
    "skip": _skip,  # for comparison only: its private branch proves nothing
}


def make_head(name: str, key: bytes, ordinal: int, channels: int, layers: int) -> nn.Module:
    """Build the head of one layer.

    Args:
        name: a name in `HEADS`.
        key: the model key.
        ordinal: the layer's place in the canonical list.
        channels: C.
        layers: length of the canonical list.

    Raises:
        OptionError: no head has that name.
    """
    if name not in HEADS:
        raise OptionError(f"head {name!r} is unknown; there are: {', '.join(HEADS)}")
    return HEADS[name](key, ordinal, channels, layers)
