"""The triggers of a passport: their rule at issue, and what of their training is saved."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from modeldeed.anchor.trigger_rule import TriggerRule
from modeldeed.errors import OptionError
from modeldeed.suspects.answering.preparation import Preparation, Prepare
from modeldeed.triggers.choosing import trigger_rule
from modeldeed.triggers.forms import form_of, preparation_of
from modeldeed.triggers.training import TriggerOptions, TriggerTraining
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = [
    "chosen_options",
    "class_names",
    "options_beside",
    "restore",
    "rule_of",
    "saved_options",
    "state_of",
]

_STATE = "triggers"


def class_names(
    classes: Iterable[str] | int, options: TriggerOptions | None
) -> tuple[tuple[str, ...], int]:
    """Names of the classes, perhaps none, and how many there are.

    Args:
        classes: the names in output order, or how many there are.
        options: of triggers; None without any.

    Raises:
        OptionError: a mere number is given where nothing needs it, or none where triggers do.
    """
    if not isinstance(classes, int):
        names = tuple(classes)
        if options is not None and not names:
            raise OptionError(
                "triggers are labelled with classes: give their names, or how many there are, by "
                "classes=..."
            )
        return names, len(names)
    if options is None:
        raise OptionError(
            f"classes={classes} counts only with triggers=...; without them give names, or none"
        )
    return (), classes


def chosen_options(triggers: bool | TriggerOptions, example: Any) -> TriggerOptions | None:
    """What ``triggers=...`` asks for, with a preparation.

    Raises:
        OptionError: it is neither a bool nor options, or the example's form is not known.
    """
    if triggers is False:
        return None
    if triggers is True:
        triggers = TriggerOptions()
    if not isinstance(triggers, TriggerOptions):
        raise OptionError(
            f"triggers is True, False or TriggerOptions(...), got a {type(triggers).__name__}"
        )
    if triggers.prepare is not None:
        return triggers
    return TriggerOptions(**{**vars(triggers), "prepare": preparation_of(example)})


def options_beside(
    rule: TriggerRule | None, triggers: bool | TriggerOptions, example: Any
) -> TriggerOptions | None:
    """How the triggers of an anchor are trained.

    Args:
        rule: in the anchor; None where it has none.
        triggers: as given at issue: True or False for the defaults, or options.
        example: as of `chosen_options`.

    Raises:
        OptionError: options are given and there are no triggers, or they are those of other ones.
    """
    if rule is None:
        if triggers is not False:
            raise OptionError("triggers=...: this anchor holds none; anchor anew, with them")
        return None
    options = chosen_options(triggers or True, example)
    if options is not None and isinstance(triggers, TriggerOptions):
        left_alone = options.batches == TriggerOptions().batches
        batches = rule.batches if left_alone else options.batches
        given = (options.family or rule.family, options.count or rule.count, batches)
        if given != (rule.family, rule.count, rule.batches):
            raise OptionError(
                f"triggers=...: the anchor fixed {rule.batches} batches of {rule.count} of "
                f"{rule.family}, other ones are asked for"
            )
    return options


def sample_of(example: Any, batch_dim: int) -> Any:
    """The part of an example that tells what a trigger looks like, samples first."""
    if batch_dim:
        example = tree_map(
            lambda x: (
                x.movedim(batch_dim, 0) if isinstance(x, Tensor) and x.dim() > batch_dim else x
            ),
            example,
        )
    if isinstance(example, Mapping) and "input_ids" in example:
        return example
    tensors = [x for x in tree_leaves(example) if isinstance(x, Tensor) and x.dim() > 1]
    return tensors[0] if len(tensors) == 1 else example


def rule_of(example: Any, classes: int, options: TriggerOptions) -> TriggerRule:
    """The rule for the anchor.

    Raises:
        OptionError: an option is out of range, or the example's form is not known.
    """
    form = form_of(example, options.vocabulary)
    return trigger_rule(
        form, classes, family=options.family, batches=options.batches, count=options.count
    )


def state_of(triggers: TriggerSet | None) -> dict[str, Tensor]:
    """How a set was trained so far, as a tensor of JSON; nothing of it is evidence."""
    if triggers is None:
        return {}
    plain = isinstance(triggers.prepare, Preparation)
    fields = {
        "training": asdict(triggers.training),
        "prepare": vars(triggers.prepare) if plain else None,
        "feed": triggers.feed.state(),
    }
    return {_STATE: torch.tensor(list(json.dumps(fields).encode()), dtype=torch.uint8)}


def saved_options(state: dict[str, Tensor], prepare: Prepare | None) -> TriggerOptions | None:
    """The options that a saved set was trained with; None where it has none.

    Args:
        state: of the passport.
        prepare: used instead of the saved preparation; a function was not saved.

    Raises:
        OptionError: a field is out of range.
    """
    if _STATE not in state:
        return None
    fields = _fields(state)
    if prepare is None and fields["prepare"] is not None:
        known = fields["prepare"].items()
        lists: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in known}
        prepare = Preparation(**lists)
    training = TriggerTraining(**fields["training"])
    return TriggerOptions(prepare=prepare or _not_saved, training=training)


def restore(triggers: TriggerSet | None, state: dict[str, Tensor]) -> None:
    """Let a set go on where the saved one stopped."""
    if triggers is not None and _STATE in state:
        triggers.feed.restore(_fields(state)["feed"])


def _fields(state: dict[str, Tensor]) -> Any:
    return json.loads(bytes(state[_STATE].tolist()))


def _not_saved(_: Tensor) -> NoReturn:
    raise OptionError(
        "these triggers were issued with a function as prepare, which is not saved: give it "
        "again, Passport.load(..., prepare=...)"
    )
