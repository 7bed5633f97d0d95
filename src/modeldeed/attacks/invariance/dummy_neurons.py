"""Add neurons that change nothing: unread ones, cliques that cancel, and split ones.

Source:
    Y. Yan et al., "Rethinking White-Box Watermarks on Deep Learning Models under Neural Structural
    Obfuscation", USENIX Security 2023, section 4: NeuronZero, NeuronClique, NeuronSplit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.invariance._channels import by_channel, held, reindexed, rows_first
from modeldeed.attacks.invariance._tracing import Space, spaces_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["AddDummyNeurons", "add_dummy_neurons"]

Kind = Literal["zero", "clique", "split"]
_KINDS: tuple[Kind, ...] = ("zero", "clique", "split")


def add_dummy_neurons(
    model: nn.Module,
    example: Tensor,
    *,
    kind: Kind,
    share: float = 0.25,
    generator: torch.Generator,
) -> nn.Module:
    """Widen every space of channels by neurons that leave the function as it is.

    Args:
        model: not changed.
        example: an input; a small batch is enough.
        kind: ``"zero"``: random neurons that nobody reads; ``"clique"``: pairs of equal random
            neurons that are read with opposite signs; ``"split"``: copies of neurons, each read
            with a part of the weight.
        share: new neurons over old ones, in (0, 1].
        generator: of every choice, on the CPU.

    Returns:
        A wider copy in evaluation mode that computes the same; its new neurons stand last.

    Raises:
        OptionError: an argument is out of range, or no channels can be added.
    """
    if kind not in _KINDS:
        raise OptionError(f"kind is one of {', '.join(_KINDS)}, got {kind!r}")
    if not 0 < share <= 1:
        raise OptionError(f"share is in (0, 1], got {share}")
    changed = copy_of(model)
    for space in spaces_of(changed, example):
        new = max(1, round(share * space.size))
        new += new % 2 if kind == "clique" else 0
        _widen(space, new, kind, generator)
    return changed


def _widen(space: Space, new: int, kind: Kind, generator: torch.Generator) -> None:
    size, device = space.size, by_channel(*space.readers[0]).device
    copied = torch.randint(size, (new,), generator=generator)
    shares = torch.ones(size + new)
    if kind == "split":
        # A neuron that is copied n times is read with n + 1 random parts that add up to one.
        shares = 0.2 + torch.rand(size + new, generator=generator)
        index = torch.cat([torch.arange(size), copied])
        total = torch.zeros(size).index_add_(0, index, shares)
        shares = shares / total[index]
    index = torch.cat([torch.arange(size), copied]).to(device)
    reindexed(space, index, shares.to(device))
    if kind == "split":
        return
    pairs = torch.arange(new) // 2 if kind == "clique" else torch.arange(new)
    for writer in space.writers:
        _randomize(writer, size, pairs, generator)
    for norm in space.norms:
        _randomize(norm, size, pairs, generator)
    for layer in space.depthwise:
        _randomize(layer, size, pairs, generator)
    for reader, repeat in space.readers:
        _silence(reader, repeat, size, kind)


def _randomize(layer: Any, size: int, pairs: Tensor, generator: torch.Generator) -> None:
    """New neurons like old ones: each a copy times noise; partners get the same."""
    # The first neuron of a pair stands where its number turns up first.
    heads = torch.searchsorted(pairs, pairs)
    source = (size + heads).to(layer.weight.device)
    for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
        if tensor.dim() == 0:
            continue
        rows = rows_first(layer) if tensor is layer.weight else tensor.data
        like = rows[size:]
        noise = torch.randn(like.shape, generator=generator).to(like)
        if isinstance(layer, _BatchNorm):
            drawn = like * (1 + 0.2 * noise).abs()
        else:
            drawn = like.std() * noise if like.numel() > 1 else noise
        rows[size:] = drawn
        rows[size:] = rows.index_select(0, source)


def _silence(reader: nn.Module, repeat: int, size: int, kind: Kind) -> None:
    """Columns of new neurons: zero, or of every second one minus its partner's."""
    view = by_channel(reader, repeat).clone()
    if kind == "zero":
        view[:, size:] = 0
    else:
        view[:, size + 1 :: 2] = -view[:, size::2]
    reader.weight.data.copy_(held(reader, view))  # type: ignore[operator]


@register("dummy-neurons")
@dataclass(frozen=True, kw_only=True)
class AddDummyNeurons(Attack):
    """Add neurons that change nothing; see `add_dummy_neurons`.

    Attributes:
        kind: unread, cancelling or split.
        share: new neurons over old ones.
    """

    kind: Kind
    source: ClassVar[str] = "Yan et al., USENIX Security 2023"

    share: float = 0.25

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Every kind, few and many."""
        return {
            f"{kind}, {share:.0%}": cls(kind=kind, share=share)
            for share in (0.05, 0.25, 0.5)
            for kind in _KINDS
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A wider copy."""
        return add_dummy_neurons(
            model,
            torch.zeros_like(data.dataset.x_train[:2]),
            kind=self.kind,
            share=self.share,
            generator=generator,
        )
