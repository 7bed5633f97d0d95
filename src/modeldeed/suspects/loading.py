"""Putting a suspect's weights into a model of its architecture."""

from __future__ import annotations

import torch
from torch import nn

from modeldeed.errors import SuspectError
from modeldeed.suspects.weights import Weights

__all__ = ["load_weights"]


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Replace a model's weights by a suspect's.

    Args:
        model: changed in place; tensors that only the suspect has are left out.
        weights: the suspect's.

    Raises:
        SuspectError: tensors of the model are missing or have another shape.
    """
    # What the model does not have is not run; and batch counters say nothing about a function.
    own = set(model.state_dict())
    names = own & set(weights.names())
    missing = sorted(n for n in own - names if not n.endswith("num_batches_tracked"))
    if missing:
        raise SuspectError(
            f"{weights.label} lacks {len(missing)} tensors of the given model, for example "
            f"{missing[0]}; is it the suspect's architecture?"
        )
    try:
        with torch.no_grad():
            model.load_state_dict({n: weights.tensor(n) for n in names}, strict=False)
    except RuntimeError as error:
        said = " ".join(str(error).split())  # PyTorch says it in several lines
        raise SuspectError(f"{weights.label} does not fit the given model: {said}") from error
