"""Remove whole output channels: those with the smallest weights.

Source:
    H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf, "Pruning Filters for Efficient ConvNets",
    ICLR 2017. Physical removal: G. Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR
    2023, by its authors' package torch-pruning.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import LnStructured

from modeldeed.attacks._channels import norms_behind, silence
from modeldeed.attacks._layers import copy_of, weighted_layers
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import MissingExtraError, OptionError
from modeldeed.training import Recipe

__all__ = ["PruneChannels", "prune_channels"]


def prune_channels(
    model: nn.Module, example: Tensor, *, share: float, remove: bool = False
) -> nn.Module:
    """Remove the channels with the smallest L2 norms from every layer but the last.

    Args:
        model: not changed.
        example: a batch of its input, of any values: it shows which norm follows which layer.
        share: part of each layer's channels, in (0, 1).
        remove: cut the channels out, so that tensors become smaller, and never a whole layer;
            otherwise rows, biases, and scale and bias of the norm behind are set to zero, which
            computes the same where a norm treats channels apart.

    Returns:
        The copy in evaluation mode.

    Raises:
        OptionError: ``share`` is out of range, there is no layer with a weight, or torch-pruning
            cannot cut channels out of this model: one with rotary positions, or with heads that
            share keys.
        MissingExtraError: ``remove`` is asked for and torch-pruning is not installed.
    """
    if not 0 < share < 1:
        raise OptionError(f"share is in (0, 1), got {share}")
    changed = copy_of(model)
    layers = [layer for _, layer in weighted_layers(changed)]
    if remove:
        return _cut_out(changed, layers[-1], example, share)
    # A layer that stands alone is the classifier; there is nothing before it to prune.
    inner = layers[:-1]
    behind = norms_behind(changed, inner, example)
    for layer in inner:
        chosen: Any = LnStructured(amount=share, n=2, dim=0)
        kept = chosen.compute_mask(layer.weight.data, torch.ones_like(layer.weight.data))
        gone = (kept.flatten(1)[:, 0] == 0).nonzero().flatten()
        silence(layer, behind.get(id(layer)), gone)
    return changed


def _cut_out(model: nn.Module, classifier: nn.Module, example: Tensor, share: float) -> nn.Module:
    try:
        pruning: Any = importlib.import_module("torch_pruning")
    except ImportError as error:
        raise MissingExtraError("torch-pruning", "attacks") from error
    # Their halves change places at every layer: torch-pruning follows them without an end.
    if any("rotary" in type(module).__name__.lower() for module in model.modules()):
        raise _uncut(model, "its rotary positions tie channels in ways that it cannot follow")
    pruner = pruning.pruner.MagnitudePruner(
        model,
        example,
        importance=pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=share,
        ignored_layers=[classifier],
    )
    pruner.step()
    try:
        with torch.no_grad():
            model.eval()(example)
    except RuntimeError as error:
        raise _uncut(model, f"it leaves a model that does not run ({error})") from error
    return model


def _uncut(model: nn.Module, reason: str) -> OptionError:
    return OptionError(
        f"torch-pruning cannot cut channels out of {type(model).__name__}: {reason}; take "
        "remove=False, which sets them to zero"
    )


@register("prune-channels")
@dataclass(frozen=True, kw_only=True)
class PruneChannels(Attack):
    """Remove the channels with the smallest weights; see `prune_channels`.

    Attributes:
        share: part of each layer's channels.
        remove: cut them out; needs torch-pruning.
    """

    source: ClassVar[str] = "Li et al., ICLR 2017"
    needs: ClassVar[tuple[Need, ...]] = ("architecture",)

    share: float
    remove: bool = False

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """A tenth, a quarter, half of the channels."""
        return {"10 %": cls(share=0.1), "25 %": cls(share=0.25), "50 %": cls(share=0.5)}

    def apply(
        self,
        model: nn.Module,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A pruned copy; of the data, the shape of an input."""
        example = torch.zeros_like(data.dataset.x_train[:2])
        return prune_channels(model, example, share=self.share, remove=self.remove)
