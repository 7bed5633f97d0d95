"""The metrics of an audit card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cards import Card
from benchmarks.experiments._audit_grids import Form, not_tried
from benchmarks.records import Record
from modeldeed.audit import Audit, Cell, Plan
from modeldeed.reporting.audit_text import (
    cheapest_markdown,
    failures_markdown,
    survival_markdown,
)

__all__ = ["Audited", "Audits", "render"]


class Audited(Record):
    """All attacks on one host in one form.

    Attributes:
        host: the model.
        form: of its passport.
        plan: of the audit.
        cells: under every seed; a seed is that of the model's training and of the attack.
    """

    host: str
    form: Form
    plan: Plan
    cells: tuple[Cell, ...]

    @property
    def audit(self) -> Audit:
        """As the package reports it."""
        return Audit(self.plan, self.cells)


class Audits(Record):
    """The metrics of an audit card."""

    audits: tuple[Audited, ...]


def render(card: Card) -> str:
    """For each host what survives, the cheapest attacks, and every failure.

    Args:
        card: an audit card.
    """
    found = Audits.model_validate(card.metrics).audits
    parts = []
    for host in dict.fromkeys(one.host for one in found):
        audits: dict[str, Audit] = {one.form: one.audit for one in found if one.host == host}
        before = ", ".join(
            f"{form} {audit.shipped.accuracy_before:.3f}"
            for form, audit in audits.items()
            if audit.shipped
        )
        seeds = sorted({cell.seed for audit in audits.values() for cell in audit.cells})
        parts += [
            f"Host: {host}; accuracy as shipped: {before}; seeds: {', '.join(map(str, seeds))}.",
            survival_markdown(audits),
            "The cheapest attack that works within five points of accuracy:",
            cheapest_markdown(audits),
            "Everything that works within five points of accuracy:",
            failures_markdown(audits),
        ]
    refused = _refused(found)
    if refused:
        parts += ["Refused by the attack itself, and so not in the tables:", refused]
    left = not_tried(card.setting)
    if left:
        parts.append(f"Attacks of the package that this experiment leaves out: {', '.join(left)}.")
    return "\n\n".join(parts)


def _refused(found: Sequence[Audited]) -> str:
    lines = [
        f"- {one.host}, {one.form}: {left.attack}"
        f"{'' if left.strength is None else f' ({left.strength})'}: {left.reason}"
        for one in found
        for left in one.plan.left_out
    ]
    return "\n".join(dict.fromkeys(lines))
