"""One training step of a marked model: both branches, the signature, and triggers along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from modeldeed.passport.private.early import now, resolved
from modeldeed.passport.private.losses import Loss, default_loss
from modeldeed.passport.private.parallel import require_averaged
from modeldeed.passport.private.step import TrainingRule, batch_size
from modeldeed.triggers.training import TriggerTraining
from modeldeed.triggers.trigger_set import TriggerSet

if TYPE_CHECKING:
    from modeldeed.passport.passport import Passport

__all__ = ["joint_loss", "private_triggers"]

_MOST = 8  # a part of the private branch's samples


def joint_loss(
    self: Passport,
    inputs: Any,
    targets: Any = None,
    loss: Loss = default_loss,
    triggers: TriggerSet | bool | None = True,
) -> Tensor:
    """One step's loss: public, and when it is due private and signature.

    Triggers are appended to what each branch gets, after the batch was cut, so that under every
    schedule and share both learn them.

    Args:
        self: the passport.
        inputs: a batch of the host's input.
        targets: what ``loss`` compares with; a tensor, or nested, batch first. None for a
            host that returns its own ``loss``.
        loss: ``(outputs, targets) -> scalar``, a mean over samples; by default cross-entropy
            of classes.
        triggers: the set to be learned along. True takes those that the passport was issued
            with, if any; False or None leaves them out of this step.

    Returns:
        L(public) + private_weight · L(private) + λ · hinge, a scalar.

    Raises:
        OptionError: the batch cannot be split, the triggers do not fit it, or the default loss
            does not know the form of the host's output.
        HostError: a planned norm was skipped, or several processes train together and nothing
            averages their gradients; see `as_module`.
    """
    require_averaged("both branches")
    rule = self.training
    learned = _learned(self, triggers)
    due, strength = rule.due(self.steps), rule.strength(self.steps)
    self.steps += 1
    if not due:
        return _public_loss(self, learned, inputs, targets, loss)
    cut = rule.cut(batch_size(inputs, rule.batch_dim))
    # Private first: its graph is gone before the public one grows.
    private = cut.private(inputs), cut.private(targets, rule.target_dim)
    marking = _marking_loss(self, learned, *private, loss)
    if strength < 1:
        marking = strength * marking
    if rule.schedule == "alternate":
        return marking
    public = cut.public(inputs), cut.public(targets, rule.target_dim)
    return _public_loss(self, learned, *public, loss) + marking


def private_triggers(rule: TrainingRule, training: TriggerTraining, samples: int) -> int:
    """How many triggers the private branch gets with so many samples.

    As many as the public branch got since the last time, so that both learn as much; but few
    enough that the branch's batch statistics stay those of the task.
    """
    if training.private_per_batch is not None:
        return training.private_per_batch
    steps = rule.interval if rule.schedule in ("pair", "reuse") else 1
    count = training.count(samples)
    return max(count, min(steps * count, samples // _MOST))


def _learned(passport: Passport, triggers: TriggerSet | bool | None) -> TriggerSet | None:
    if isinstance(triggers, TriggerSet):
        return triggers
    return passport.triggers if triggers else None


def _public_loss(
    passport: Passport, triggers: TriggerSet | None, inputs: Any, targets: Any, loss: Loss
) -> Tensor:
    if triggers is None:
        return loss(passport.public(inputs), targets)
    rule = passport.training
    dims = {"batch_dim": rule.batch_dim, "target_dim": rule.target_dim}
    return triggers.joint_loss(passport.host, inputs, targets, loss, **dims)


def _marking_loss(
    passport: Passport, triggers: TriggerSet | None, inputs: Any, targets: Any, loss: Loss
) -> Tensor:
    """What marking adds to a step's loss: private_weight · L(private) + λ · hinge."""
    rule, branch = passport.training, passport.branch
    if triggers is not None:
        count = private_triggers(rule, triggers.training, batch_size(inputs, rule.batch_dim))
        dims = {"batch_dim": rule.batch_dim, "target_dim": rule.target_dim}
        inputs, targets = triggers.feed.appended(inputs, targets, "private", count, **dims)
    begun = now()
    readings = branch.readings()
    call = branch.call(readings)
    private = rule.private_weight * loss(call(inputs), targets)
    marking = private + rule.signature_weight * passport.hinge(readings)
    return resolved(marking, call.again(), begun) if rule.early else marking
