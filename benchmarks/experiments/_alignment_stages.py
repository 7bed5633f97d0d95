"""Reorder the channels of a ConvNeXt's stages: its residual streams, which share a norm's order."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks import Attack, AttackData
from modeldeed.errors import OptionError

__all__ = ["PermuteStages"]


@dataclass(frozen=True, kw_only=True)
class PermuteStages(Attack):
    """Reorder the channels of every stage of a ConvNeXt of transformers at random.

    A layer norm over channels does not mind their order, nor does a convolution that treats each
    channel apart; so the channels of a stage can change places together.
    """

    name: ClassVar[str] = "permute-stages"
    source: ClassVar[str] = "Yan et al., arXiv 2205.00199, for residual streams"

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,
    ) -> nn.Module:
        """A reordered copy; refuses other models."""
        changed: Any = copy.deepcopy(model)
        found = [m for m in changed.modules() if type(m).__name__ == "ConvNextModel"]
        if not found:
            raise OptionError(f"{type(model).__name__} holds no ConvNextModel of transformers")
        with torch.no_grad():
            order = self._permute(found[0], generator)
            for owner in changed.modules():
                if hasattr(owner, "convnext") and hasattr(owner, "classifier"):
                    _take(owner.classifier.weight, order, 1)
        return changed.eval()  # type: ignore[no-any-return]

    def _permute(self, model: Any, generator: torch.Generator) -> Tensor:
        """Reorder all stages in place; returns the last one's order."""
        order = torch.empty(0)
        writers = [model.embeddings.patch_embeddings]
        norms = [model.embeddings.layernorm]
        for stage in model.encoder.stages:
            between = list(stage.downsampling_layer.children())
            if between:
                norm, convolution = between
                _rows(norm, order)
                _take(convolution.weight, order, 1)
                writers, norms = [convolution], []
            order = torch.randperm(len(writers[0].weight), generator=generator)
            for layer in (*writers, *norms):
                _rows(layer, order)
            for block in stage.layers:
                for layer in (block.dwconv, block.layernorm, block.pwconv2):
                    _rows(layer, order)
                _take(block.pwconv1.weight, order, 1)
                if block.layer_scale_parameter is not None:
                    _take(block.layer_scale_parameter, order, 0)
        _rows(model.layernorm, order)
        return order


def _rows(layer: Any, order: Tensor) -> None:
    for tensor in (layer.weight, layer.bias):
        if tensor is not None:
            _take(tensor, order, 0)


def _take(tensor: Tensor, order: Tensor, dim: int) -> None:
    tensor.copy_(tensor.index_select(dim, order))
