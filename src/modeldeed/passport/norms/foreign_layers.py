"""Norms of other libraries, known by their structure instead of by importing them.

transformers alone has some 200 copies of the same RMSNorm, each a class of its own; detectron2,
torchvision and transformers have a FrozenBatchNorm2d each; timm fuses activations into its norms.
Each runs by its own forward. What a recognized layer makes of its scale is proved on real
activations when a plan is made; one that does not pass is left out with the reason.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.passport.norms.own_forward import run_own_forward
from modeldeed.passport.norms.registry import NormKind, is_frozen, recognize, tracks_statistics

__all__ = ["fault_of", "looks_like_norm"]

_NAME = re.compile("norm", re.IGNORECASE)
_STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


def looks_like_norm(module: nn.Module) -> bool:
    """Tell whether a layer is a normalization by its name, with no tensors but of one dimension.

    For listing what a plan leaves out: a layer that looks like a norm is never skipped silently.
    """
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return (
        _NAME.search(type(module).__name__) is not None
        # Parametrizations (weight norm, spectral norm) are no layers.
        and not type(module).__module__.startswith("torch.nn.utils")
        and all(tensor.dim() <= 1 for tensor in own)
        and not any(_stateful(child) for child in module.children())
    )


def _stateful(module: nn.Module) -> bool:
    return any(True for _ in (*module.parameters(), *module.buffers()))


def _own_names(module: nn.Module) -> set[str]:
    tables = (module._parameters, module._buffers)
    return {name for table in tables for name, tensor in table.items() if tensor is not None}


@recognize
def _foreign(module: nn.Module) -> NormKind | None:
    # Names first: to ask a layer for a parametrized weight is to compute it, and with spectral norm
    # in train mode that changes the host.
    if not looks_like_norm(module):
        return None
    if not {"weight"} <= _own_names(module) <= {"weight", "bias"} | _STATISTICS:
        return None
    if not isinstance(module.weight, Tensor) or module.weight.dim() != 1:
        return None
    if tracks_statistics(module) and not _updates_as_batch_norm_does(module):
        return None
    return NormKind(
        name="frozen-batch" if is_frozen(module) else "own-forward",
        module=type(module),
        channels=lambda norm: len(norm.weight),
        apply=run_own_forward,
        recognized=True,
    )


def _updates_as_batch_norm_does(module: nn.Module) -> bool:
    """Statistics must be kept apart, so only classes whose rule of updating them is known pass."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and (
        type(module).__module__.split(".")[0] == "timm"
    )


def fault_of(kind: NormKind, norm: Any, x: Tensor, y: Tensor) -> str | None:
    """Why a recognized layer is not what it looks like; None when it is.

    Args:
        kind: how it was recognized.
        norm: the layer, in eval mode.
        x: an input that it got in the host.
        y: what it made of it.
    """
    scale, bias = norm.weight.detach(), getattr(norm, "bias", None)
    statistics = None
    own = kind.apply(norm, x, scale, bias, statistics)
    if own.shape != y.shape or not torch.equal(own.nan_to_num(), y.nan_to_num()):
        return "its output depends on more than its input, scale and bias"
    silent = kind.apply(norm, x, torch.zeros_like(scale), _zeros(bias), statistics)
    if bool((silent != silent.flatten()[0]).any()):
        return (
            "at a scale of 0 it still passes its input on: its scale is not its `weight` alone "
            "(1 + weight?), so the sign of the weight is not that of the scale"
        )
    ones = torch.ones_like(scale)
    positive = kind.apply(norm, x, ones, _zeros(bias), statistics)
    if torch.equal(positive, kind.apply(norm, x, -ones, _zeros(bias), statistics)):
        return "its output does not depend on the sign of its scale"
    if bias is None and not _scales_last_dimension(kind, norm, x, positive):
        return "it has no bias, and its channels are not the last dimension of its output"
    return None


def _zeros(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else torch.zeros_like(bias)


def _scales_last_dimension(kind: NormKind, norm: Any, x: Tensor, unscaled: Tensor) -> bool:
    """Where the private bias of a layer without one is added."""
    signs = torch.ones_like(norm.weight.detach())
    signs[::2] = -1  # exact in every precision
    return unscaled.shape[-1] == len(signs) and torch.equal(
        kind.apply(norm, x, signs, None, None), unscaled * signs
    )
