"""Rotate a transformer's residual stream; its function stays.

A norm that only normalizes commutes with an orthogonal matrix Q: an RMS norm with any, a layer
norm with one that leaves the vector of ones as it is. So scales and shifts of norms are folded into
what reads them, everything that writes to the stream is multiplied with Q, and everything that
reads it with its transpose.

Source:
    S. Ashkboos et al., "SliceGPT: Compress Large Language Models by Deleting Rows and Columns",
    ICLR 2024, arXiv 2401.15024, section 3.1; "QuaRot", NeurIPS 2024, arXiv 2404.00456. Theirs
    replaces layer norms by RMS norms; a rotation around the vector of ones needs no such change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.invariance._blocks import (
    Block,
    Rows,
    blocks_of,
    example_like,
    require_same,
)
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["RotateResidual", "rotate_residual"]

Kind = Literal["permutation", "blocks", "full"]
_KINDS: tuple[Kind, ...] = ("permutation", "blocks", "full")
_BLOCK = 16


def rotate_residual(
    model: nn.Module, example: Tensor, *, kind: Kind = "full", generator: torch.Generator
) -> nn.Module:
    """Rotate the residual stream of a pre-norm transformer by a random orthogonal matrix.

    Args:
        model: not changed.
        example: an input; outputs for it are compared.
        kind: "permutation", with signs between RMS norms; "blocks" mixes sixteen channels at a
            time that a permutation put together; "full" mixes all.
        generator: of the matrix, on the CPU.

    Returns:
        A copy in evaluation mode that computes the same; the scales of its norms are ones, and
        tied embeddings are no longer tied.

    Raises:
        OptionError: ``kind`` is none of these, or the model is no pre-norm transformer of a known
            form: Llama and what is built like it, ViT, PyTorch's own encoder layers.
    """
    if kind not in _KINDS:
        raise OptionError(f"kind is one of {', '.join(_KINDS)}, got {kind!r}")
    changed = copy_of(model)
    stream = _stream_of(changed, example)
    stream.fold()
    matrix = _orthogonal(stream.size, kind, centered=stream.centered, generator=generator)
    stream.rotate(matrix.to(example.device))
    require_same(model, changed, example)
    return changed


@dataclass
class _Stream:
    """What a residual stream is written and read by.

    Attributes:
        size: channels.
        writers: layers whose rows they are.
        tables: tensors whose last dimension they are: embeddings, positions, class tokens.
        read: norms, each with the layers that read it.
    """

    size: int
    writers: list[Rows]
    tables: list[Tensor]
    read: list[tuple[Any, list[Rows]]]

    @property
    def centered(self) -> bool:
        """Whether a norm takes the mean off."""
        return any(isinstance(norm, nn.LayerNorm) for norm, _ in self.read)

    def fold(self) -> None:
        """Fold the norms' scales and shifts into the layers that read them."""
        for norm, readers in self.read:
            shift = getattr(norm, "bias", None)
            for reader in readers:
                if shift is not None:
                    reader.adds(reader.weight @ shift.data)
                reader.weight.mul_(norm.weight.data)
            norm.weight.data.fill_(1)
            if shift is not None:
                shift.data.zero_()

    def rotate(self, matrix: Tensor) -> None:
        """Rotate everything."""
        for writer in self.writers:
            writer.turned(matrix)
        for table in self.tables:
            table.copy_(table @ matrix.mT.to(table))
        for _, readers in self.read:
            for reader in readers:
                reader.reads(matrix.mT)


def _stream_of(model: nn.Module, example: Tensor) -> _Stream:
    blocks = blocks_of(model)
    size = blocks[0].down.weight.shape[0]
    inner = {id(m) for block in blocks for m in _holder(model, block).modules()}
    order = _ran(model, example, inner)
    last = max((k for k, (_, inside) in enumerate(order) if inside), default=-1)
    first = min((k for k, (_, inside) in enumerate(order) if inside), default=0)
    read: list[tuple[Any, list[Rows]]] = []
    for block in blocks:
        if not block.pre_norm or len(block.norms) != 2:
            raise OptionError("a block whose norms are not read by its layers alone has no stream")
        attention = block.attention
        read.append((block.norms[0], [attention.query, attention.key, attention.value]))
        read.append((block.norms[1], list(block.hidden)))
    ends = [m for m, _ in order[last + 1 :]]
    final = next((m for m in ends if _is_norm(m, size)), None)
    heads = [m for m in ends if isinstance(m, nn.Linear) and m.in_features == size][:1]
    if final is None or not heads:
        raise OptionError(
            f"{type(model).__name__} has no norm and no linear layer behind its blocks"
        )
    _untie(model, heads[0])
    read.append((final, [Rows.of(heads[0])]))
    starts = [m for m, _ in order[:first]]
    writers = [Rows.of(m) for m in starts if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)
               and m.weight.shape[0] == size]  # fmt: skip
    writers += [part for block in blocks for part in (block.attention.out, block.down)]
    return _Stream(size, writers, _tables(model, starts, size, inner), read)


def _holder(model: nn.Module, block: Block) -> nn.Module:
    """The module that holds a block's norms."""
    return next(m for m in model.modules() if set(block.norms) <= set(m.children()))


def _is_norm(module: nn.Module, size: int) -> bool:
    weight = getattr(module, "weight", None)
    named = "norm" in type(module).__name__.lower()
    return named and isinstance(weight, Tensor) and weight.shape == (size,)


def _ran(model: nn.Module, example: Tensor, inner: set[int]) -> list[tuple[nn.Module, bool]]:
    """Modules without children in the order in which they ran, and whether inside of a block."""
    ran: list[tuple[nn.Module, bool]] = []
    hooks = [
        module.register_forward_pre_hook(lambda m, _: ran.append((m, id(m) in inner)))
        for module in model.modules()
        if not any(True for _ in module.children())
        or isinstance(module, nn.TransformerEncoderLayer)
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return ran


def _tables(model: nn.Module, starts: list[nn.Module], size: int, inner: set[int]) -> list[Tensor]:
    """Embeddings, and parameters that a module outside of the blocks holds beside its layers."""
    found = {id(m): m.weight.data for m in starts
             if isinstance(m, nn.Embedding) and m.embedding_dim == size}  # fmt: skip
    for module in model.modules():
        if id(module) in inner or isinstance(module, nn.Embedding | nn.Linear):
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.dim() > 1 and parameter.shape[-1] == size:
                found[id(parameter)] = parameter.data
    return list(found.values())


def _untie(model: Any, head: Any) -> None:
    shared = [p for n, p in model.named_parameters(remove_duplicate=False) if p is head.weight]
    if len(shared) > 1:
        head.weight = nn.Parameter(head.weight.data.clone(), head.weight.requires_grad)
        if hasattr(model, "config"):
            model.config.tie_word_embeddings = False


def _orthogonal(size: int, kind: Kind, *, centered: bool, generator: torch.Generator) -> Tensor:
    """A random orthogonal matrix, ``(size, size)``; if centered, one that keeps the ones."""
    order = torch.randperm(size, generator=generator)
    if kind == "permutation":
        signs = torch.randint(2, (size,), generator=generator) * 2.0 - 1
        return torch.eye(size)[order] * (1.0 if centered else signs[:, None])
    width = size if kind == "full" else min(_BLOCK, size)
    parts = []
    for first in range(0, size, width):
        count = min(width, size - first)
        parts.append(_mixing(count, centered=centered, generator=generator))
    whole: Tensor = torch.block_diag(*parts)  # type: ignore[no-untyped-call]
    return whole[:, order].float()


def _mixing(size: int, *, centered: bool, generator: torch.Generator) -> Tensor:
    noise = torch.randn(size, size, generator=generator, dtype=torch.float64)
    if not centered:
        mixing: Tensor = torch.linalg.qr(noise).Q
        return mixing
    ones = torch.full((size, 1), size**-0.5, dtype=torch.float64)
    # Behind the vector of ones, two random bases of what is orthogonal to it.
    bases = [
        torch.linalg.qr(torch.cat([ones, part], 1)).Q[:, 1:]
        for part in (noise[:, 1:], torch.randn(size, size - 1, generator=generator).double())
    ]
    turning: Tensor = ones @ ones.mT + bases[0] @ bases[1].mT
    return turning


@register("rotate-residual")
@dataclass(frozen=True, kw_only=True)
class RotateResidual(Attack):
    """Rotate a transformer's residual stream; see `rotate_residual`.

    Attributes:
        kind: "permutation", "blocks" or "full".
    """

    source: ClassVar[str] = "Ashkboos et al., ICLR 2024; NeurIPS 2024"

    kind: Kind = "full"

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Kinds of matrices."""
        return {
            "signed permutation": cls(kind="permutation"),
            "blocks of 16": cls(kind="blocks"),
            "full": cls(),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A rotated copy."""
        example = example_like(data.dataset.x_train)
        return rotate_residual(model, example, kind=self.kind, generator=generator)
