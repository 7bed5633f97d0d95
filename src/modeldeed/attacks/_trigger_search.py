"""Search for what turns any input into a class: a mask and a pattern, as small as possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._learning import Loss

__all__ = ["FoundTrigger", "find_triggers", "stamped", "unlearning_loss"]

_RATE = 0.1
_BATCH = 64
_MAD = 1.4826  # of a normal distribution, from the median deviation to the standard one
_OUTLIER = 2.0  # Wang et al.
_HIDDEN = -3.0  # of a mask at first, before the sigmoid: 5 %


@dataclass(frozen=True)
class FoundTrigger:
    """What turns inputs into a class.

    Attributes:
        target: the class.
        mask: in [0, 1], one channel, shape that of an input without its channels.
        pattern: in the inputs' range.
        size: sum of the mask.
        success: share of the inputs that it turned.
        outlier: smaller than those of the other classes by more than chance allows.
    """

    target: int
    mask: Tensor
    pattern: Tensor
    size: float
    success: float
    outlier: bool = False


def stamped(inputs: Tensor, trigger: FoundTrigger) -> Tensor:
    """Inputs with a trigger on them."""
    return (1 - trigger.mask) * inputs + trigger.mask * trigger.pattern


def find_triggers(
    model: nn.Module,
    inputs: Tensor,
    classes: int,
    *,
    steps: int,
    penalty: float,
    generator: torch.Generator,
) -> list[FoundTrigger]:
    """Search for the smallest trigger of every class.

    Args:
        model: in evaluation mode; not changed.
        inputs: clean, shape ``(N, *)``.
        classes: K.
        steps: of Adam for each class.
        penalty: on the mean of the mask.
        generator: of first patterns and batches, on the CPU.

    Returns:
        One for each class, the smallest first; those whose size is an outlier among all sizes
        (by more than two deviations, by the median) are marked.

    Reference:
        B. Wang et al., "Neural Cleanse", S&P 2019, sections IV and V.
    """
    found = [_search(model, inputs, target, steps, penalty, generator) for target in range(classes)]
    sizes = torch.tensor([trigger.size for trigger in found])
    middle = sizes.median()
    deviation = _MAD * (sizes - middle).abs().median().clamp_min(1e-12)
    marked = [
        FoundTrigger(
            t.target, t.mask, t.pattern, t.size, t.success,
            bool((middle - t.size) / deviation > _OUTLIER),
        )
        for t in found
    ]  # fmt: skip
    return sorted(marked, key=lambda trigger: trigger.size)


def _search(
    model: nn.Module,
    inputs: Tensor,
    target: int,
    steps: int,
    penalty: float,
    generator: torch.Generator,
) -> FoundTrigger:
    low, high = (float(value) for value in torch.aminmax(inputs))
    shape = inputs.shape[1:]
    flat = _one_channel(shape)
    hidden = torch.full(flat, _HIDDEN, device=inputs.device, requires_grad=True)
    drawn = torch.randn(shape, generator=generator).to(inputs).requires_grad_()
    optimizer = torch.optim.Adam([hidden, drawn], lr=_RATE, betas=(0.5, 0.9))
    labels = torch.full((len(inputs),), target, device=inputs.device)

    def current() -> FoundTrigger:
        pattern = low + (high - low) * drawn.sigmoid()
        return FoundTrigger(target, hidden.sigmoid(), pattern, 0.0, 0.0)

    for _ in range(steps):
        index = torch.randint(len(inputs), (min(_BATCH, len(inputs)),), generator=generator)
        index = index.to(inputs.device)
        trigger = current()
        turned = F.cross_entropy(model(stamped(inputs[index], trigger)), labels[index])
        loss = turned + penalty * trigger.mask.mean()
        hidden.grad, drawn.grad = torch.autograd.grad(loss, (hidden, drawn))
        optimizer.step()
    with torch.no_grad():
        last = current()
        hits = model(stamped(inputs, last)).argmax(1) == target
        size, success = float(last.mask.sum()), float(hits.float().mean())
        return FoundTrigger(target, last.mask.detach(), last.pattern.detach(), size, success)


def _one_channel(shape: Sequence[int]) -> tuple[int, ...]:
    """A mask's shape: pictures share it over channels, points over coordinates."""
    if len(shape) == 3:
        return (1, *shape[1:])
    return (shape[0], 1) if len(shape) == 2 else tuple(shape)


def unlearning_loss(
    model: Callable[[Tensor], Tensor], triggers: Sequence[FoundTrigger], share: float
) -> Loss:
    """Cross entropy with triggers on a share of every batch, and its own labels.

    Args:
        model: what learns.
        triggers: at least one; they take turns.
        share: of the batch, in (0, 1].
    """

    def loss(x: Tensor, y: Tensor) -> Tensor:
        count = max(1, round(share * len(x)))
        marked = [
            stamped(x[i : i + 1], triggers[i % len(triggers)]).to(x.dtype) for i in range(count)
        ]
        return F.cross_entropy(model(torch.cat([*marked, x[count:]])), y)

    return loss
