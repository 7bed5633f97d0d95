"""Choosing the rule of a trigger set from few options."""

from __future__ import annotations

from modeldeed.anchor.trigger_rule import (
    MAX_BATCHES,
    MAX_CLASSES,
    MAX_COUNT,
    MIN_COUNT,
    TriggerInput,
    TriggerRule,
)
from modeldeed.errors import OptionError
from modeldeed.statistics import BLACK_BOX, triggers_per_batch
from modeldeed.triggers.families import find
from modeldeed.triggers.generate import default_family

__all__ = ["trigger_rule"]


def trigger_rule(
    form: TriggerInput,
    classes: int,
    *,
    family: str | None = None,
    batches: int = 2,
    count: int | None = None,
) -> TriggerRule:
    """The rule of a trigger set, large enough for a claim without a timestamp.

    Args:
        form: of one input.
        classes: K.
        family: None takes the default for the form.
        batches: how many.
        count: triggers of one batch; None for `modeldeed.statistics.triggers_per_batch`.

    Raises:
        OptionError: an argument is out of range.
    """
    if not 2 <= classes <= MAX_CLASSES:
        raise OptionError(f"classes must be 2 … {MAX_CLASSES}, got {classes}")
    if not 1 <= batches <= MAX_BATCHES:
        raise OptionError(f"batches must be 1 … {MAX_BATCHES}, got {batches}")
    wanted = triggers_per_batch(classes, BLACK_BOX) if count is None else count
    if not MIN_COUNT <= wanted <= MAX_COUNT:
        raise OptionError(f"count must be {MIN_COUNT} … {MAX_COUNT}, got {wanted}")
    chosen = family or default_family(form)
    find(form, chosen)
    return TriggerRule(input=form, family=chosen, classes=classes, count=wanted, batches=batches)
