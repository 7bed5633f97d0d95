"""Learning triggers along: in a training step, in a loader, and how well they are learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from modeldeed.errors import OptionError
from modeldeed.passport.host.reach import as_call
from modeldeed.passport.private.losses import Loss, default_loss
from modeldeed.passport.private.step import batch_size, portion
from modeldeed.suspects.answering.local import CallableSuspect, ModuleSuspect
from modeldeed.suspects.answering.suspect import Suspect
from modeldeed.triggers.appending import LABELS
from modeldeed.triggers.feed import Feed
from modeldeed.triggers.hardening import loss_under_noise
from modeldeed.triggers.training import TriggerTraining

if TYPE_CHECKING:
    from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["AugmentedLoader", "augment", "joint_loss", "match_rate"]

_GROUP = 64


def joint_loss(
    self: TriggerSet,
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    loss: Loss = default_loss,
    *,
    batch_dim: int = 0,
    target_dim: int = 0,
) -> Tensor:
    """One step's loss of a model that learns the triggers along, for models without a passport.

    Args:
        self: the trigger set; its ``training`` says how many triggers there are in a step.
        model: in train mode.
        inputs: a batch of its input.
        targets: classes ``(N,)``, or shares of them ``(N, K)``; None for a model that returns its
            own ``loss`` of the ``"labels"`` that are in ``inputs``.
        loss: ``(outputs, targets) -> scalar``, a mean over samples.
        batch_dim: dimension of the inputs' tensors along which samples lie.
        target_dim: the same of the targets.

    Returns:
        The mean loss of the batch with the triggers; on steps that harden them, with the loss
        of more of them under noise on the weights.

    Raises:
        OptionError: the triggers do not fit the batch.
        HostError: they are to be hardened and the weights are sharded.
    """
    dims = {"batch_dim": batch_dim, "target_dim": target_dim}
    count = self.training.count(batch_size(inputs, batch_dim))
    joined, labels = self.feed.appended(inputs, targets, "public", count, **dims)
    args, kwargs = as_call(joined)
    total = loss(model(*args, **kwargs), labels)
    step, self.feed.steps = self.feed.steps, self.feed.steps + 1
    if not self.training.hardens(step):
        return total
    return total + _hardened(self, model, inputs, targets, loss, step, **dims)


def _hardened(
    triggers: TriggerSet,
    model: nn.Module,
    inputs: Any,
    targets: Any,
    loss: Loss,
    step: int,
    *,
    batch_dim: int,
    target_dim: int,
) -> Tensor:
    """The loss of more triggers under noise on the weights."""
    rule, count = triggers.training, triggers.training.harden_batch
    samples = batch_size(inputs, batch_dim)
    beside = portion(inputs, (0, min(samples, 2 * count)), samples, batch_dim)
    more, labels = triggers.feed.like(
        beside, targets, "hardening", count, batch_dim=batch_dim, target_dim=target_dim
    )
    return loss_under_noise(
        model, beside, more, labels, loss,
        size=rule.harden, seed=rule.seed + step, batch_dim=batch_dim,
    )  # fmt: skip


class AugmentedLoader:
    """Batches with triggers behind them; made by `TriggerSet.augment`."""

    def __init__(
        self, loader: Iterable[Any], triggers: TriggerSet, training: TriggerTraining
    ) -> None:
        self._loader = loader
        self._feed = Feed(triggers)
        self._training = training

    def __len__(self) -> int:
        """Batches of one pass, where the loader has a length."""
        return len(self._loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        """One pass over the loader; the triggers go on where the pass before stopped."""
        for batch in self._loader:
            yield self._appended(batch)

    def _appended(self, batch: Any) -> Any:
        if isinstance(batch, tuple | list) and len(batch) == 2:
            count = self._training.count(batch_size(batch[0]))
            return self._feed.appended(batch[0], batch[1], "public", count)
        if isinstance(batch, Mapping) and LABELS in batch:
            count = self._training.count(batch_size(batch))
            return self._feed.appended(batch, None, "public", count)[0]
        raise OptionError(
            "a loader yields (inputs, targets), or mappings that hold 'labels'; got a "
            f"{type(batch).__name__}"
        )


def augment(
    self: TriggerSet, loader: Iterable[Any], per_batch: int | None = None
) -> AugmentedLoader:
    """A loader whose batches have triggers behind them, for a plain training loop.

    The triggers come in shuffled passes, each as often as the others, and are distorted a little
    if ``training.distort`` says so. They are not hardened; that takes the model, see
    `joint_loss`.

    Args:
        self: the trigger set.
        loader: yields (inputs, targets), or mappings that hold ``"labels"``.
        per_batch: triggers in a batch; None takes ``training.per_batch``.

    Returns:
        What yields the same with more samples, as often as it is iterated over.

    Raises:
        OptionError: ``per_batch`` is below one; while iterating, the triggers do not fit a batch.

    Example:
        >>> import torch
        >>> from modeldeed import Owner
        >>> from modeldeed.triggers.trigger_set import TriggerSet
        >>> x, y = torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64)
        >>> triggers = TriggerSet.issue(Owner.generate(), example=x, classes=10)
        >>> [(len(inputs), len(targets)) for inputs, targets in triggers.augment([(x, y)])]
        [(10, 10)]
    """
    training = self.training if per_batch is None else replace(self.training, per_batch=per_batch)
    return AugmentedLoader(loader, self, training)


def match_rate(self: TriggerSet, model: nn.Module | Callable[[Any], Any]) -> float:
    """The share of triggers that a model answers with their labels, for the owner's own check.

    Evidence is a judge's query of a suspect, not this number.

    Args:
        self: the trigger set.
        model: a module, asked in eval mode and left as it was; or a function of prepared
            inputs, as `Passport.private` is, in whatever mode it is.

    Returns:
        A number in [0, 1]; about 1/K for a model that did not learn them.

    Raises:
        SuspectError: the model does not take the triggers, or returns no scores.
    """
    suspect: Suspect
    if isinstance(model, nn.Module):
        suspect = ModuleSuspect(model, prepare=self.prepare, group_size=_GROUP)
    else:
        suspect = CallableSuspect(model, prepare=self.prepare, group_size=_GROUP)
    pairs = zip(suspect.labels(self.inputs), self.labels.tolist(), strict=True)
    return sum(int(answer == label) for answer, label in pairs) / len(self)
