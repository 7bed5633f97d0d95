"""Teaching triggers to a model that is trained already, in a few per cent of its steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from modeldeed.errors import PlanError
from modeldeed.passport.host.reach import as_call, evaluating
from modeldeed.passport.retrofit.embed import Evaluate, Progress, learning_rate
from modeldeed.passport.retrofit.embed_batches import batches, divided, planned_steps, samples_in
from modeldeed.passport.retrofit.embed_modes import cycle, restored_on_failure, training
from modeldeed.passport.retrofit.imitation import imitation
from modeldeed.passport.retrofit.report import Retrofit
from modeldeed.passport.retrofit.trigger_lesson import TriggerLesson

if TYPE_CHECKING:
    from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["embed"]

_BOLDER = 2  # than a passport, whose bits are set and not learned


def embed(
    self: TriggerSet,
    model: nn.Module,
    loader: Iterable[Any],
    *,
    steps: int | None = None,
    original_steps: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    evaluate: Evaluate | None = None,
    freeze_statistics: bool = False,
    progress: Progress | None = None,
    batch_dim: int = 0,
) -> Retrofit:
    """Teach the triggers to a model that is trained already.

    It learns their labels and imitates its own outputs of before on everything else, for which
    no labels are needed. There are as many triggers in a step as let each be seen some thirty
    times; distortions and hardening are those of ``training``.

    Args:
        self: the trigger set.
        model: trained; changed in place.
        loader: batches of (inputs, targets), or of inputs alone; passed over as often as needed.
            Tensors are moved to the model's device.
        steps: how many; None for a twentieth of ``original_steps``, or else one pass.
        original_steps: how many steps the model's own training took.
        optimizer: over the model's parameters; its learning rates are the peak of a warm-up and
            a cosine. None for AdamW at a rate that follows the size of the weights.
        evaluate: from a function of inputs to outputs to its accuracy; called in eval mode,
            before and after.
        freeze_statistics: leave the running statistics of the model's norms as they are.
        progress: told after every step: steps done, planned, seconds in all.
        batch_dim: dimension of the inputs' tensors along which samples lie.

    Returns:
        What was done and what it cost.

    Raises:
        OptionError: the number of steps is not known or below one; the loader runs dry; the
            triggers do not fit its batches.
        PlanError: no weights of the model require gradients.
        HostError: the weights are sharded.
        SuspectError: the model returns no scores of classes.

    Note:
        Holds two copies of the model for the time being. If anything is raised, the model is as
        it was before. Modes and learning rates are put back; gradients are cleared.

    Example:
        >>> from modeldeed import Owner
        >>> from modeldeed.triggers.trigger_set import TriggerSet
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        >>> x = torch.rand(64, 1, 8, 8)
        >>> triggers = TriggerSet.issue(Owner.generate(), example=x, classes=10, model=model)
        >>> triggers.embed(model, [x], steps=4).steps
        4
    """
    planned = planned_steps(loader, steps, original_steps)
    lesson = TriggerLesson(self, planned, batch_dim)
    weights = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in weights if p.dim() > 1]
    if not matrices:
        raise PlanError(
            "no weights of this model require gradients, so nothing can be learned: call "
            "model.requires_grad_()"
        )
    before = _accuracy(evaluate, model), self.match_rate(model)
    original = copy.deepcopy(model).eval()
    seconds, samples = 0.0, 0
    with restored_on_failure(model), training(model, freeze_statistics):
        optimizer = optimizer or torch.optim.AdamW(
            weights, lr=_BOLDER * learning_rate(matrices), weight_decay=0.0
        )
        start = time.perf_counter()
        with cycle(optimizer, planned) as schedule:
            for number, batch in enumerate(batches(loader, planned), 1):
                samples += _step(model, original, optimizer, lesson, batch)
                schedule.step()
                seconds = time.perf_counter() - start
                if progress:
                    progress(number, planned, seconds / number * planned)
    after = _accuracy(evaluate, model), self.match_rate(model)
    return Retrofit(
        steps=planned,
        original_steps=original_steps,
        samples=samples,
        seconds=seconds,
        public_before=before[0],
        public_after=after[0],
        triggers_before=before[1],
        triggers_after=after[1],
    )


def _step(
    model: nn.Module,
    original: nn.Module,
    optimizer: torch.optim.Optimizer,
    lesson: TriggerLesson,
    batch: Any,
) -> int:
    """Take a step and return the number of samples."""
    inputs, _ = divided(batch, model, labelled=False)
    args, kwargs = as_call(inputs)
    with torch.no_grad():
        wanted = original(*args, **kwargs)
    optimizer.zero_grad(set_to_none=True)
    imitation(model(*args, **kwargs), wanted).backward()  # type: ignore[no-untyped-call]
    lesson.loss(model, inputs).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return samples_in(inputs)


def _accuracy(evaluate: Evaluate | None, model: nn.Module) -> float | None:
    if evaluate is None:
        return None
    with torch.no_grad(), evaluating(model):

        def answer(inputs: Any) -> Any:
            args, kwargs = as_call(inputs)
            return model(*args, **kwargs)

        return float(evaluate(answer))
