"""The parts of a transformer: its attention, its hidden units, and what its residual stream is.

Parts are known by what layers are called: attention with ``q_proj``, ``k_proj``, ``v_proj`` and
``o_proj`` or ``out_proj``, hidden layers with ``gate_proj``, ``up_proj`` and ``down_proj`` or with
``fc1`` and ``fc2``, and PyTorch's own encoder layer. What a name promises can be false, so every
rewrite that relies on this compares outputs before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.errors import OptionError
from modeldeed.passport.host.reach import first_tensor

__all__ = ["Attention", "Block", "Rows", "blocks_of", "example_like", "require_same"]


@dataclass(frozen=True)
class Rows:
    """A layer, or some rows of a fused one.

    Attributes:
        layer: what holds it.
        weight: view of the rows, ``(out, in, …)``.
        bias: view of their biases; None without one.
    """

    layer: nn.Module
    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, layer: Any) -> Rows:
        """All rows of a layer."""
        return cls(layer, layer.weight.data, None if layer.bias is None else layer.bias.data)

    def turned(self, matrix: Tensor) -> None:
        """Put ``matrix @`` before what the layer writes, in place."""
        flat = self.weight.flatten(1)
        self.weight.copy_((matrix.to(flat) @ flat).reshape(self.weight.shape))
        if self.bias is not None:
            self.bias.copy_(matrix.to(self.bias) @ self.bias)

    def reads(self, matrix: Tensor) -> None:
        """Put ``@ matrix`` behind the weight, in place."""
        self.weight.copy_(self.weight @ matrix.to(self.weight))

    def adds(self, shift: Tensor) -> None:
        """Add to the bias, which is made where there is none."""
        if self.bias is not None:
            self.bias.add_(shift.to(self.bias))
        elif bool(shift.any()):
            layer: Any = self.layer
            layer.bias = nn.Parameter(shift.clone(), requires_grad=layer.weight.requires_grad)


@dataclass(frozen=True)
class Attention:
    """The projections of an attention.

    Attributes:
        query: as many heads as ``heads``; so many neighbours share a head of keys and values as
            ``heads // shared``.
        key: ``shared`` heads.
        value: ``shared`` heads.
        out: reads ``heads`` heads.
        heads: of queries.
        shared: of keys and values.
        free: nothing but the product of a query with a key looks at their channels.
        rotary: positions turn pairs of them before.
    """

    query: Rows
    key: Rows
    value: Rows
    out: Rows
    heads: int
    shared: int
    free: bool
    rotary: bool = False


@dataclass(frozen=True)
class Block:
    """One block: attention, then hidden units.

    Attributes:
        attention: its attention.
        hidden: the layers whose rows are the hidden units: one, or two that are multiplied.
        down: the layer whose columns they are.
        norms: those of the block, in the order in which it holds them.
        pre_norm: whether it is known to add to a stream that norms only read.
    """

    attention: Attention
    hidden: tuple[Rows, ...]
    down: Rows
    norms: tuple[nn.Module, ...]
    pre_norm: bool


def blocks_of(model: nn.Module) -> list[Block]:
    """The blocks of a transformer, in the order in which it holds them.

    Args:
        model: what is attacked; what is returned are views of its weights.

    Raises:
        OptionError: there are none.
    """
    rotary = any("rotary" in type(module).__name__.lower() for module in model.modules())
    blocks = [block for m in model.modules() if (block := _block(m, rotary)) is not None]
    if not blocks:
        raise OptionError(
            f"{type(model).__name__} has no transformer block whose parts are known by their names "
            "(q_proj, k_proj, v_proj, o_proj; gate_proj, up_proj, down_proj or fc1, fc2), and no "
            "torch.nn.TransformerEncoderLayer"
        )
    return blocks


def _block(module: Any, rotary: bool) -> Block | None:
    if isinstance(module, nn.TransformerEncoderLayer):
        return Block(
            _fused(module.self_attn), (Rows.of(module.linear1),), Rows.of(module.linear2),
            (module.norm1, module.norm2), module.norm_first,
        )  # fmt: skip
    children = dict(module.named_children())
    attention = next((c for c in children.values() if _has(c, "q_proj", "k_proj", "v_proj")), None)
    if attention is None:
        return None
    hidden = _hidden([module, *children.values()])
    found = _parted(attention, rotary)
    if hidden is None or found is None:
        return None
    norms = tuple(c for c in children.values() if "norm" in type(c).__name__.lower())
    return Block(found, *hidden, norms, pre_norm=True)


def _has(module: nn.Module, *names: str) -> bool:
    return all(isinstance(getattr(module, name, None), nn.Linear) for name in names)


def _hidden(modules: Sequence[Any]) -> tuple[tuple[Rows, ...], Rows] | None:
    for module in modules:
        if _has(module, "gate_proj", "up_proj", "down_proj"):
            gates = (Rows.of(module.gate_proj), Rows.of(module.up_proj))
            return gates, Rows.of(module.down_proj)
        if _has(module, "fc1", "fc2"):
            return (Rows.of(module.fc1),), Rows.of(module.fc2)
    return None


def _parted(module: Any, rotary: bool) -> Attention | None:
    out = next((getattr(module, n) for n in ("o_proj", "out_proj") if _has(module, n)), None)
    config = getattr(module, "config", None)
    heads = _first(module, "num_attention_heads", "num_heads") or _first(
        config, "num_attention_heads"
    )
    if out is None or not heads:
        return None
    shared = _first(config, "num_key_value_heads") or heads
    normed = any("norm" in name for name, _ in module.named_children())
    return Attention(
        Rows.of(module.q_proj),
        Rows.of(module.k_proj),
        Rows.of(module.v_proj),
        Rows.of(out),
        heads=heads,
        shared=shared,
        free=not (rotary or normed),
        rotary=rotary and not normed,
    )


def _fused(module: nn.MultiheadAttention) -> Attention:
    if module.in_proj_weight is None:
        raise OptionError("attention with keys or values of another width cannot be rewritten")
    size = module.embed_dim
    bias = module.in_proj_bias
    parts = [
        Rows(
            module,
            module.in_proj_weight.data[k * size : (k + 1) * size],
            None if bias is None else bias.data[k * size : (k + 1) * size],
        )
        for k in range(3)
    ]
    query, key, value = parts
    heads = module.num_heads
    return Attention(
        query, key, value, Rows.of(module.out_proj), heads=heads, shared=heads, free=True
    )


def _first(holder: Any, *names: str) -> int:
    found = (getattr(holder, name, None) for name in names)
    return next((int(value) for value in found if value), 0)


def example_like(inputs: Tensor) -> Tensor:
    """Two inputs to compare outputs with; of tokens, as they come.

    Args:
        inputs: of the task, ``(N, *)``.
    """
    chosen = inputs[:2]
    if not chosen.is_floating_point():
        return chosen
    generator = torch.Generator().manual_seed(0)
    return torch.randn(chosen.shape, generator=generator).to(chosen)


def _answer(model: nn.Module, example: Tensor) -> Tensor:
    """A model's first output."""
    with torch.no_grad():
        found = first_tensor(model(example))
    if found is None:
        raise OptionError(f"{type(model).__name__} returns no tensor that could be compared")
    return found.float()


def require_same(before: nn.Module, after: nn.Module, example: Tensor) -> None:
    """Refuse a rewrite that changed the function.

    Raises:
        OptionError: outputs differ by more than a thousandth of the largest.
    """
    one, two = (_answer(model, example) for model in (before, after))
    apart = float((one - two).abs().max() / one.abs().max().clamp_min(1e-30))
    if not apart < 1e-3:
        raise OptionError(
            f"{type(before).__name__} has parts that are not what their names say: outputs of the "
            f"rewritten model differ by {apart:.1e} of the largest; only pre-norm transformers "
            "whose norms do nothing but normalize, scale and shift can be rewritten"
        )
