"""Turn every row of a network away from what it was, while the task keeps its accuracy.

The strongest removal without the key that we know of: train on with a penalty on cos²(wᵢ, w⁰ᵢ) of
every row with its own beginning. What a mark put into a row fades with that cosine, whatever the
mark looks like. It needs all the data, and about half of the original training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.data import Dataset, batches
from modeldeed.training import Augment, Recipe

__all__ = ["decorrelated"]


def decorrelated(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    penalty: float,
    augment: Augment | None = None,
) -> nn.Module:
    """Train a copy on, away from its own rows.

    Args:
        model: not changed.
        dataset: what it is trained with.
        recipe: how.
        penalty: weight of the mean cos² over all rows of convolutions and linear layers.
        augment: applied to every batch.

    Returns:
        The copy in evaluation mode.
    """
    changed = copy.deepcopy(model)
    weights = [m.weight for m in changed.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    before = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = recipe.optimizer_for(list(changed.parameters()))
    steps = recipe.epochs * (len(dataset.y_train) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps
    )
    changed.train()
    for _ in range(recipe.epochs):
        for x, y in batches(
            dataset.x_train, dataset.y_train, recipe.batch_size, generator, drop_last=True
        ):
            inputs = augment(x, generator) if augment else x
            with torch.autocast(x.device.type, torch.bfloat16, enabled=recipe.bfloat16):
                loss = F.cross_entropy(changed(inputs), y)
            loss = loss + penalty * _mean_square_cosine(weights, before)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return changed.eval()


def _mean_square_cosine(weights: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    cosines = [
        F.cosine_similarity(now.flatten(1), then.flatten(1))
        for now, then in zip(weights, before, strict=True)
    ]
    return torch.cat(cosines).square().mean()
