"""All layers' heads at once.

A head is a handful of tiny operators; one after another for twenty layers they cost more than
their arithmetic. Frozen heads of the same width are therefore stacked and applied together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from modeldeed.passport.private.heads import Head, KeyedHead, keyed_affine

__all__ = ["HeadBank"]


class HeadBank:
    """Apply the heads of all layers to the readings of all layers.

    Args:
        heads: one per layer, on their device. Buffers of keyed heads become views of the stacks.
        channels: C of each layer.
    """

    def __init__(self, heads: Sequence[nn.Module], channels: Sequence[int]) -> None:
        ends = torch.tensor(list(channels)).cumsum(0).tolist()
        self._spans = [(end - size, end) for end, size in zip(ends, channels, strict=True)]
        groups: dict[int, list[int]] = {}
        for ordinal, (head, size) in enumerate(zip(heads, channels, strict=True)):
            if isinstance(head, KeyedHead):
                groups.setdefault(size, []).append(ordinal)
        single = [o for o, head in enumerate(heads) if not isinstance(head, KeyedHead)]
        self._appliers: list[Head] = [
            _Stack([cast(KeyedHead, heads[o]) for o in ordinals]) for ordinals in groups.values()
        ]
        self._appliers += [cast(Head, heads[ordinal]) for ordinal in single]
        order = [ordinal for ordinals in groups.values() for ordinal in ordinals] + single
        positions = [torch.arange(*self._spans[ordinal]) for ordinal in order]
        device = next((b.device for head in heads for b in head.state_dict().values()), None)
        self._gather = torch.cat(positions).to(device)
        self._scatter = self._gather.argsort()
        self._sizes = [len(ordinals) * size for size, ordinals in groups.items()]
        self._sizes += [channels[ordinal] for ordinal in single]

    def __call__(self, readings: Tensor) -> tuple[Tensor, Tensor]:
        """Compute every layer's scale and bias.

        Args:
            readings: sign-canonical r_γ and r_β of all layers in canonical order, ``(2, ΣC)``.

        Returns:
            γ₁ and β₁ of all layers in canonical order, each ``(ΣC,)``.
        """
        parts = torch.split(readings.index_select(1, self._gather), self._sizes, dim=1)
        whole = [
            torch.stack(apply(part)) for apply, part in zip(self._appliers, parts, strict=True)
        ]
        gamma, beta = torch.cat(whole, dim=1).index_select(1, self._scatter)
        return gamma, beta


class _Stack:
    """Keyed heads of one width."""

    def __init__(self, heads: Sequence[KeyedHead]) -> None:
        self._inner = torch.stack([head.inner for head in heads])
        self._outer = torch.stack([head.outer for head in heads])
        self._sign = torch.stack([head.sign for head in heads])
        for index, head in enumerate(heads):
            head.inner, head.outer = self._inner[index], self._outer[index]
            head.sign = self._sign[index]

    def __call__(self, readings: Tensor) -> tuple[Tensor, Tensor]:
        layered = readings.view(2, *self._sign.shape).transpose(0, 1)
        gamma, beta = keyed_affine(layered, self._inner, self._outer, self._sign)
        return gamma.flatten(), beta.flatten()
