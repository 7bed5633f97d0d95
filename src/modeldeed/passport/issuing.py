"""Issuing a passport: plan it, refuse or fix everything in an anchor, before any secret exists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from modeldeed.anchor import (
    Anchor,
    PassportRule,
    architecture_digest,
    require_text,
    seed_commitment,
)
from modeldeed.anchor.trigger_rule import TriggerRule
from modeldeed.digests import tensor_root
from modeldeed.errors import OptionError
from modeldeed.owner import Owner
from modeldeed.passport.evidence.coloured import Factors, factors_root
from modeldeed.passport.evidence.factors import chosen_factors
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.message import commit_message
from modeldeed.passport.host.plan import PLANNER_VERSION, Selector, make_plan

__all__ = ["prepared"]


def prepared(
    model: nn.Module,
    owner: Owner,
    *,
    example: Any,
    label: str,
    targets: Selector | Iterable[Selector] | None,
    exclude: Selector | Iterable[Selector] | None,
    classes: tuple[str, ...],
    head: str,
    rows: str,
    message: str | None,
    reading: str,
    probes: Any,
    triggers: TriggerRule | None = None,
) -> tuple[Manifest, Factors | None]:
    """Make the manifest of a new passport.

    The options are those of `Passport.issue`, with the rule of its triggers.

    Returns:
        The unsigned manifest, and the factors of a coloured reading.

    Raises:
        PlanError: the host has no usable norm, or one that cannot be kept apart.
        OptionError: an option is out of range, or the message does not fit into the bits.
    """
    require_text("label", label)
    for name in classes:
        require_text("classes", name)
    plan = make_plan(model, example, targets=targets, exclude=exclude)
    plan.require_usable()
    factors = chosen_factors(model, plan.targets, reading, example, probes)
    if factors is not None and message is not None:
        raise OptionError(
            "a message is written into weights as they are; it needs reading='weights'"
        )
    root = None if factors is None else factors_root(factors)
    state = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    seed, public_key = owner.seed(label), owner.identity.public_key
    anchor = Anchor(
        identity=public_key.hex(),
        seed_commitment=seed_commitment(seed, public_key),
        weights_root=tensor_root(state).hex(),
        architecture=architecture_digest(type(model).__qualname__, state),
        planner=PLANNER_VERSION,
        targets=plan.targets,
        excluded=plan.excluded,
        classes=classes,
        passport=PassportRule.checked(head=head, rows=rows, factors=root),
        triggers=triggers,
        message=None if message is None else commit_message(message, plan.bits, seed, public_key),
    )
    calls = {entry.target.norm: entry.calls for entry in plan.planned}
    return Manifest(anchor=anchor, label=label, calls=calls, message=message), factors
