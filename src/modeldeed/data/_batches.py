"""Mini-batches of tensors that are already in memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

from modeldeed.errors import DataError, OptionError


def batches(
    x: Tensor,
    y: Tensor,
    batch_size: int,
    generator: torch.Generator | None,
    *,
    drop_last: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate once over a data set in shuffled mini-batches.

    The order is drawn when the function is called, so that what the caller draws from the same
    generator inside the loop (augmentation) does not change it.

    Args:
        x: inputs, ``(N, *)``.
        y: labels, ``(N,)``, on the device of ``x``.
        batch_size: samples in a batch, at least 1.
        generator: source of the order, on any device; None keeps the stored order.
        drop_last: leave out a last batch that is not full. Batch norm cannot train on one sample.

    Returns:
        An iterator over ``(inputs, labels)``.

    Raises:
        OptionError: ``batch_size`` is below 1.
        DataError: ``x`` and ``y`` differ in length, or there would be no batch at all.

    Example:
        >>> x, y = torch.zeros(5, 3), torch.arange(5)
        >>> [labels.tolist() for _, labels in batches(x, y, 2, None)]
        [[0, 1], [2, 3], [4]]
    """
    if batch_size < 1:
        raise OptionError(f"batch_size: got {batch_size}; give at least 1")
    if len(x) != len(y):
        raise DataError(f"got {len(x)} inputs and {len(y)} labels; expected as many of each")
    used = len(y) - len(y) % batch_size if drop_last else len(y)
    if not used:
        raise DataError(
            f"{len(y)} samples give no batch of {batch_size} (drop_last={drop_last}); lower "
            "batch_size"
        )
    if generator is None:
        order = torch.arange(len(y), device=x.device)
    else:
        order = torch.randperm(len(y), generator=generator, device=generator.device).to(x.device)
    return ((x[index], y[index]) for index in torch.split(order[:used], batch_size))
