"""What others do to a model after it has shipped: train it on, or cut weights away."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import prune

from modeldeed.data import Dataset
from modeldeed.training import Recipe, train

__all__ = ["fine_tune", "prune_smallest"]


def fine_tune(
    model: nn.Module, dataset: Dataset, *, epochs: int, learning_rate: float, seed: int
) -> None:
    """Train all layers of a model on, with the task's loss alone.

    Args:
        model: changed in place; afterwards in evaluation mode.
        dataset: what it learns.
        epochs: passes over the training images.
        learning_rate: the peak of one cycle.
        seed: of the order of samples.
    """
    recipe = Recipe(epochs=epochs, learning_rate=learning_rate, seed=seed)
    for _ in train(model, dataset, recipe):
        pass
    model.eval()


def prune_smallest(model: nn.Module, share: float) -> None:
    """Set the smallest weights of all convolutions and linear layers together to zero.

    Args:
        model: changed in place; its state dict keeps its names.
        share: part of all those weights, in (0, 1).
    """
    kinds = (nn.Conv2d, nn.Linear)
    layers = [(module, "weight") for module in model.modules() if isinstance(module, kinds)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=share)
    for module, name in layers:
        prune.remove(module, name)  # type: ignore[no-untyped-call]
