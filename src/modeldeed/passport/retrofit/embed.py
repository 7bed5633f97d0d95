"""Retrofit: mark a model that is trained already, in a few per cent of its training's steps.

Three things make it short. The signature is not learned but *set*: after every step each row of a
bound weight is turned, in the plane that it spans with its passport and without changing its
length, by the least angle that makes its bit read with the margin (the projection onto a cone).
The margin rises over the first half of the steps, and all bits are there from the first step on.
Both branches imitate the model as it was,
whose outputs say more about every sample than a label does, so that no labels are needed. And
both branches see every sample of every step.

Reference:
    The branch is trained as in J. Zhang et al., "Passport-aware Normalization for Deep Model
    Protection", NeurIPS 2020, which trains from scratch; imitating outputs is from G. Hinton
    et al., "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from modeldeed.errors import PlanError
from modeldeed.passport.host.reach import as_call, evaluating
from modeldeed.passport.retrofit.embed_batches import batches, divided, planned_steps, samples_in
from modeldeed.passport.retrofit.embed_modes import adapting, cycle, training, undone_on_failure
from modeldeed.passport.retrofit.imitation import imitation
from modeldeed.passport.retrofit.planting import plant
from modeldeed.passport.retrofit.report import EmbedReport
from modeldeed.passport.retrofit.trigger_lesson import TriggerLesson

if TYPE_CHECKING:
    from modeldeed.passport.passport import Passport
    from modeldeed.passport.private.branch import PrivateBranch

__all__ = ["EmbedReport", "Evaluate", "Progress", "embed", "learning_rate"]

_STRIDE = 0.03  # what one step moves, relative to the typical size of a weight
_CALIBRATION_BATCHES = 8
_RISE = 0.5  # of the steps, over which the margin rises

Loss = Callable[[Any, Any], Tensor]
Predict = Callable[[Any], Any]
Evaluate = Callable[[Predict], float]
"""From a function of inputs to outputs to its accuracy in [0, 1]."""
Progress = Callable[[int, int, float], None]
"""Called with (steps done, planned, seconds they will take in all)."""


def embed(
    passport: Passport,
    loader: Iterable[Any],
    *,
    steps: int | None = None,
    original_steps: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    loss: Loss | None = None,
    evaluate: Evaluate | None = None,
    freeze_statistics: bool = False,
    progress: Progress | None = None,
) -> EmbedReport:
    """Mark a model that is trained already, in a few per cent of its training's steps.

    Issue the passport on the trained model, then call this: the anchor commits to the weights
    as they are before. Of the training rule, ``margin`` and ``private_weight`` count. Triggers
    that the passport was issued with are learned along.

    Args:
        passport: of the trained model; `Passport.embed` passes itself.
        loader: batches of (inputs, targets), or of inputs alone where ``loss`` is None; passed
            over as often as needed. Tensors are moved to the host's device.
        steps: how many; None for a twentieth of ``original_steps``, or else one pass.
        original_steps: how many steps the model's own training took.
        optimizer: over the host's parameters (and those of learned heads); its learning rates
            are the peak of a warm-up and a cosine. None for AdamW at a
            rate that follows the size of the weights.
        loss: ``(outputs, targets) -> scalar``, a mean over samples. None imitates the
            outputs of the model as it was, without labels.
        evaluate: from a function of inputs to outputs to its accuracy; called with both
            branches in eval mode, before and after.
        freeze_statistics: leave the running statistics of the host's norms as they are.
        progress: told after every step: steps done, planned, seconds in all.

    Returns:
        What was done and what it cost.

    Raises:
        OptionError: the number of steps is not known or below one; the loader runs dry; it
            yields no targets for a loss of your own.
        PlanError: weights that carry bits do not require gradients.
        HostError: a planned norm was skipped.

    Note:
        Holds a copy of the host for the time being. If anything is raised, the model is as it
        was before. Modes and learning rates are put back; gradients are cleared.

    Example:
        >>> from modeldeed import Owner, Passport
        >>> host = nn.Sequential(nn.Linear(12, 32), nn.LayerNorm(32), nn.Linear(32, 4))
        >>> inputs = torch.rand(64, 12)
        >>> passport = Passport.issue(host, Owner.generate(), example=inputs)
        >>> report = passport.embed([inputs], steps=2)
        >>> report.matches, report.bits
        (32, 32)
    """
    host, branch = passport.host, passport.branch
    planned = planned_steps(loader, steps, original_steps)
    _require_trainable(branch)
    original = copy.deepcopy(host).eval()
    before, triggers = _accuracy(evaluate, passport), passport.triggers
    triggers_before = None if triggers is None else triggers.match_rate(host)
    seconds, samples = 0.0, 0
    with undone_on_failure(passport), training(host, freeze_statistics):
        optimizer = optimizer or torch.optim.AdamW(
            [p for p in [*host.parameters(), *passport.parameters()] if p.requires_grad],
            lr=learning_rate(host.get_parameter(t.weight) for t in branch.targets),
            weight_decay=0.0,
        )
        start = time.perf_counter()
        step = _Step(passport, original, optimizer, loss, planned)
        with cycle(optimizer, planned) as schedule:
            for number, batch in enumerate(batches(loader, planned), 1):
                samples += step(batch)
                schedule.step()
                seconds = time.perf_counter() - start
                if progress:
                    progress(number, planned, seconds / number * planned)
        _estimate_statistics(branch, step.recent)
    after = _accuracy(evaluate, passport)
    signature = passport.signature()
    return EmbedReport(
        steps=planned,
        original_steps=original_steps,
        samples=samples,
        seconds=seconds,
        bits=signature.bits,
        matches=signature.matches,
        median_margin=signature.median_margin,
        public_before=before[0],
        public_after=after[0],
        private_before=before[1],
        private_after=after[1],
        triggers_before=triggers_before,
        triggers_after=None if triggers is None else triggers.match_rate(host),
    )


class _Step:
    """One step of a retrofit."""

    def __init__(
        self,
        passport: Passport,
        original: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss | None,
        planned: int,
    ) -> None:
        self._passport = passport
        self._original = original
        self._optimizer = optimizer
        self._loss = loss
        self.recent: deque[Any] = deque(maxlen=_CALIBRATION_BATCHES)
        self._rise = _RISE * planned
        triggers, dim = passport.triggers, passport.training.batch_dim
        self._lesson = None if triggers is None else TriggerLesson(triggers, planned, dim)
        self._taken = 0

    def __call__(self, batch: Any) -> int:
        """Take it and return the number of samples."""
        passport, host = self._passport, self._passport.host
        inputs, targets = divided(batch, host, labelled=self._loss is not None)
        self.recent.append(inputs)
        if self._loss is None:
            with torch.no_grad():
                targets = _run(self._original, inputs)
        loss = self._loss or imitation
        self._optimizer.zero_grad(set_to_none=True)
        # The private statistics follow the batches also where the public ones are frozen.
        with adapting(host):
            private = loss(passport.private(inputs), targets)
            (passport.training.private_weight * private).backward()  # type: ignore[no-untyped-call]
        loss(_run(host, inputs), targets).backward()  # type: ignore[no-untyped-call]
        if self._lesson is not None:
            self._lesson.loss(host, inputs).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._taken += 1
        plant(passport.branch, passport.training.margin, min(1.0, self._taken / self._rise))
        return samples_in(inputs)


def learning_rate(weights: Iterable[Tensor]) -> float:
    """The peak rate of an optimizer whose steps have the rate's own size, as Adam's have."""
    return _STRIDE * median(
        float(weight.detach().float().square().mean().sqrt()) for weight in weights
    )


def _require_trainable(branch: PrivateBranch) -> None:
    if branch.factors:
        raise PlanError(
            "bits of a coloured reading are learned, not set: train with joint_loss, or issue the "
            "passport with reading='weights'"
        )
    weights = dict.fromkeys(target.weight for target in branch.targets)
    frozen = [name for name in weights if not branch.host.get_parameter(name).requires_grad]
    if frozen:
        raise PlanError(
            f"{len(frozen)} of the {len(weights)} weights that carry bits do not require "
            f"gradients, for example {frozen[0]}: call .requires_grad_() on them, or issue the "
            "passport without their norms"
        )


def _accuracy(evaluate: Evaluate | None, passport: Passport) -> tuple[float | None, float | None]:
    """Accuracy of both branches in eval mode."""
    if evaluate is None:
        return None, None
    with torch.no_grad(), evaluating(passport.host):
        public = float(evaluate(lambda inputs: _run(passport.host, inputs)))
        return public, float(evaluate(passport.private))


def _estimate_statistics(branch: PrivateBranch, batches: Iterable[Any]) -> None:
    """Average the private branch's statistics over some inputs, on the weights as they are."""
    if not branch.statistics:
        return
    momenta = {name: kept.momentum for name, kept in branch.statistics.items()}
    for kept in branch.statistics.values():
        kept.count, kept.momentum = 0, None
    try:
        with torch.no_grad(), evaluating(branch.host), adapting(branch.host):
            readings = branch.readings()
            for inputs in batches:
                branch(inputs, readings)
    finally:
        for name, momentum in momenta.items():
            branch.statistics[name].momentum = momentum


def _run(model: nn.Module, inputs: Any) -> Any:
    args, kwargs = as_call(inputs)
    return model(*args, **kwargs)
