"""A thin twin of a target: a detector with the target's own graph of operations."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modeldeed.errors import OptionError
from modeldeed.plugin.weaving.layers import grown, layer_at, put
from modeldeed.plugin.weaving.spaces import Layout, layout_of
from modeldeed.plugin.weaving.still_norms import kept, still_norm, taken
from modeldeed.plugin.weaving.tracing import shape_of, trace
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["ThinTwin", "initialize", "positions", "thin_channels", "thin_twin"]


def thin_channels(channels: int) -> int:
    """Channels of the twin where the target has so many: a quarter, 8 … 48, and 8 more.

    Example:
        >>> [thin_channels(count) for count in (16, 64, 256, 512)]
        [16, 24, 56, 56]
    """
    return 8 + min(48, max(8, channels // 4))


class ThinTwin(nn.Module):
    """A detector that takes what its target takes, made of thin copies of the target's layers.

    Its norms keep their statistics and its dropout lets everything pass, in every mode, so that a
    sample's result depends on nothing else.

    Args:
        body: the graph of thin layers, from the target's input to M + 1 logits.
        preparation: how the target's input is made of unit scale; None for not at all.

    Shape:
        - Input: ``(N, *)`` in unit scale: images in [0, 1].
        - Output: ``(N, M + 1)`` logits; the last one means "no background".
    """

    threshold: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, body: fx.GraphModule, preparation: Preparation | None = None) -> None:
        super().__init__()
        self.body = body
        weight = next(body.parameters())
        self.register_buffer("threshold", weight.new_ones(()))
        mean, std = (preparation.mean, preparation.std) if preparation else (None, None)
        if preparation is not None and preparation.images != "NCHW":
            raise OptionError("a target with channels last cannot be woven; fuse it plainly")
        self.register_buffer("mean", weight.new_tensor(mean or (0.0,))[:, None, None])
        self.register_buffer("std", weight.new_tensor(std or (1.0,))[:, None, None])

    @property
    def backgrounds(self) -> int:
        """M."""
        linear = [m for m in self.body.modules() if isinstance(m, nn.Linear)]
        return linear[-1].out_features - 1

    def forward(self, x: Tensor) -> Tensor:
        """The logits of samples in unit scale."""
        return self.prepared((x - self.mean) / self.std if x.ndim == 4 else x)

    def prepared(self, x: Tensor) -> Tensor:
        """The logits of samples as the target takes them."""
        logits: Tensor = self.body(x)
        return logits

    @torch.no_grad()
    def settle(self, samples: Tensor, *, keep: bool = False) -> None:
        """Take the norms' statistics from some samples.

        Args:
            samples: as `forward` takes them, at least two.
            keep: adapt the norms' scales so that every result stays what it was: then the
                statistics are those that fine-tuning in training mode will meet.
        """
        if len(samples) < 2:
            raise OptionError(f"statistics need at least 2 samples, got {len(samples)}")
        # One after the other: what a norm meets depends on those before it.
        for norm in [m for m in self.modules() if isinstance(m, _BatchNorm)]:
            hook = norm.register_forward_pre_hook(kept if keep else taken)
            try:
                self(samples)
            finally:
                hook.remove()


def thin_twin(
    target: nn.Module,
    example: Tensor,
    backgrounds: int,
    *,
    width: Callable[[int], int] = thin_channels,
    preparation: Preparation | None = None,
    seed: int = 0,
) -> ThinTwin:
    """Build a detector that can be woven into a target.

    Args:
        target: a classifier of convolutions, batch norms, linear layers and operations on each
            channel by itself, whose output is that of its last linear layer; not changed.
        example: one batch of its inputs ``(N, *)``; only shape, dtype and device count.
        backgrounds: M.
        width: channels of the target in one place -> channels of the twin there.
        preparation: how the target's input is made of unit scale.
        seed: of the initial weights.

    Returns:
        An untrained detector; train it as any, `settle` its norms on a batch before.

    Raises:
        OptionError: the target has an operation that cannot be woven; the text names it.

    Example:
        >>> from modeldeed.models import resnet_small
        >>> twin = thin_twin(resnet_small(), torch.zeros(2, 1, 8, 8), backgrounds=168)
        >>> twin(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 169])
    """
    body = trace(target, example)
    layout = layout_of(body)
    sizes = thin_sizes(layout, width)
    for node, role in list(layout.layers(body.graph)):
        inputs, outputs = sizes[layout.of[_source(node).name]], sizes[layout.of[node.name]]
        if node is layout.last:
            outputs = backgrounds + 1
        if role == "linear":
            inputs *= positions(layout, node)
        put(body, node, _thin(layer_at(body, node), inputs, outputs))
    _silence_dropout(body)
    body.delete_all_unused_submodules()
    body.recompile()
    twin = ThinTwin(body, preparation)
    initialize(twin, seed)
    return twin


@torch.no_grad()
def initialize(twin: ThinTwin, seed: int) -> None:
    """Give a twin its initial weights.

    Args:
        twin: changed in place.
        seed: of the weights; torch's global generator is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    twin.threshold.fill_(1)
    for layer in twin.body.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()
            if layer.affine:
                layer.weight.fill_(1)
                layer.bias.zero_()
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            # A deep net without norms needs signals that neither grow nor die out on their way.
            deviation = math.sqrt(2 / layer.weight[0].numel())
            drawn = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
            layer.weight.copy_(drawn * deviation)
            if layer.bias is not None:
                layer.bias.zero_()


def thin_sizes(layout: Layout, width: Callable[[int], int]) -> dict[int, int]:
    """Channels of the twin in every space; the input's stay, the output's follow later."""
    return {
        space.number: space.channels if space.fixed else width(space.channels)
        for space in layout.spaces
    }


def positions(layout: Layout, node: fx.Node) -> int:
    """Features of a linear layer's input for each channel: 1 unless it was flattened."""
    shape = shape_of(_source(node))
    return shape[1] // layout.space(_source(node)).channels if shape else 1


def _source(node: fx.Node) -> fx.Node:
    return node.all_input_nodes[0]


def _thin(old: nn.Module, inputs: int, outputs: int) -> nn.Module:
    if isinstance(old, _BatchNorm):
        return still_norm(old, outputs)
    new: nn.Module = grown(old, inputs, outputs)
    return new.requires_grad_(True)


def _silence_dropout(body: fx.GraphModule) -> None:
    for name, layer in list(body.named_modules()):
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            path, _, last = name.rpartition(".")
            setattr(body.get_submodule(path), last, nn.Identity())
