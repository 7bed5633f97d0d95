"""What a retrofit is fed: batches of any iterable, as many as it has steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from modeldeed.errors import OptionError

__all__ = ["batches", "divided", "planned_steps", "samples_in"]

STEP_FRACTION = 0.05


def planned_steps(loader: Iterable[Any], steps: int | None, original: int | None) -> int:
    """How many steps to take: as said, else a twentieth of the original's, else one pass.

    Raises:
        OptionError: it is not said and cannot be known, or is less than one.
    """
    if original is not None and original < 1:
        raise OptionError(f"original_steps is at least 1, got {original}")
    if steps is None and original is not None:
        steps = max(1, int(STEP_FRACTION * original))
    if steps is None:
        try:
            steps = len(loader)  # type: ignore[arg-type]
        except TypeError as error:
            raise OptionError(
                "the loader has no length; say how many steps to take, or by original_steps how "
                "many the model's own training took"
            ) from error
    if steps < 1:
        raise OptionError(f"a retrofit takes at least one step, got {steps}")
    return steps


def batches(loader: Iterable[Any], count: int) -> Iterator[Any]:
    """So many batches, from as many passes over the loader as they need.

    Raises:
        OptionError: a pass yields nothing.
    """
    taken = 0
    while taken < count:
        before = taken
        for batch in loader:
            yield batch
            taken += 1
            if taken == count:
                return
        if taken == before:
            raise OptionError(
                f"the loader ran dry after {taken} of {count} batches, as a generator does: give "
                "one that can be passed over again (a list, a DataLoader), or fewer steps"
            )


def divided(batch: Any, host: nn.Module, *, labelled: bool) -> tuple[Any, Any]:
    """Inputs and targets of a batch, on the host's device; no targets in one of inputs alone.

    Raises:
        OptionError: the batch has no targets and they are needed.
    """
    device = next(host.parameters()).device
    batch = tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, batch)
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    if labelled:
        raise OptionError(
            "with a loss of your own, the loader has to yield (inputs, targets); without one, "
            "the model's own outputs are imitated and inputs are enough"
        )
    return batch, None


def samples_in(inputs: Any) -> int:
    """N, the first dimension of an input's first tensor."""
    sizes = [leaf.shape[0] for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    return int(sizes[0]) if sizes else 0
