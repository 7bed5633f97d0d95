"""An audit as Markdown and as LaTeX tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modeldeed.reporting import audit_words as words
from modeldeed.reporting.audit_words import Audits, Cost

__all__ = [
    "audit_latex",
    "audit_markdown",
    "cheapest_markdown",
    "failures_markdown",
    "survival_markdown",
]


def audit_markdown(audits: Audits) -> str:
    """The tables of an audit: what survives, the cheapest attacks, what each cost.

    Args:
        audits: by name, the main one first.
    """
    name, audit = next(iter(audits.items()))
    parts = [f"# What it costs to remove the marks of {audit.plan.model}", _about(audits)]
    parts += ["## The cheapest attack that works", cheapest_markdown(audits)]
    parts += ["## What survives", survival_markdown(audits)]
    parts += ["## What each attack cost", _table(*_costs(audits, name))]
    if audit.plan.left_out:
        parts += ["## Left out", _left_out(audits)]
    return "\n\n".join(parts) + "\n"


def survival_markdown(audits: Audits) -> str:
    """What survives, attack by attack, what the words mean, and what is assumed."""
    told = [f"{remark}." for remark in words.remarks(audits)]
    return "\n\n".join([_table(*_survival(audits)), _meanings(audits), *told])


def cheapest_markdown(audits: Audits) -> str:
    """The cheapest attack that works against each mark, as a list."""
    return "\n".join(
        f"- **{column.heading}**: {words.cheapest_words(audits[column.audit], column.kind)[1]}."
        for column in words.columns(audits)
    )


def failures_markdown(audits: Audits) -> str:
    """Mark by mark, every attack and strength that works, as a list."""
    lines = []
    for column in words.columns(audits):
        audit = audits[column.audit]
        reading = None if audit.shipped is None else audit.shipped.reading(column.kind)
        if reading is not None and reading.verdict == "verified":
            told = "; ".join(words.failures(audit, column.kind))
            lines.append(f"- **{column.heading}**: {told or 'none of those tried'}.")
    return "\n".join(lines)


def audit_latex(audits: Audits) -> str:
    """The same two tables for a paper; they need the package booktabs.

    Args:
        audits: by name, the main one first.
    """
    name, audit = next(iter(audits.items()))
    survival = _latex(*_survival(audits), f"What survives in {audit.plan.model}.", "survival")
    costs = _latex(*_costs(audits, name), "What each attack cost.", "costs")
    return f"{survival}\n\n{costs}\n"


def _about(audits: Audits) -> str:
    plan = next(iter(audits.values())).plan
    lines = [
        f"- {name}: {audit.plan.model}, {len(audit.cells)} cells"
        + (f", {audit.missing} still to be computed" if audit.missing else "")
        + (f", accuracy {audit.shipped.accuracy_before:.3f}" if audit.shipped else "")
        for name, audit in audits.items()
    ]
    lines.append(f"- data: {plan.data}, {plan.train_samples:,} samples to attack with")
    lines.append(f"- seeds: {', '.join(map(str, plan.seeds))}")
    return "\n".join(lines)


def _meanings(audits: Audits) -> str:
    return "\n".join(f"- *{word}*: {meaning}." for word, meaning in words.known_words(audits))


def _left_out(audits: Audits) -> str:
    return "\n".join(
        f"- {left.attack}{f', {left.strength}' if left.strength else ''}: {left.reason}"
        for left in next(iter(audits.values())).plan.left_out
    )


_Rows = tuple[list[str], list[list[str]]]


def _survival(audits: Audits) -> _Rows:
    header = ["attack", *(column.heading for column in words.columns(audits))]
    rows = []
    for attack, row in words.findings(audits):
        told = [(finding.word, words.detail(finding)) for finding in row]
        rows.append([attack, *(f"{word} ({why})" if why else word for word, why in told)])
    return header, rows


def _costs(audits: Audits, name: str) -> _Rows:
    kinds = [c.kind for c in words.columns(audits) if c.audit == name]
    kinds = [kind for kind in kinds if words.examined(audits[name], kind)]
    header = ["attack", "strength", "accuracy", "training", "samples", "seconds"]
    rows = [_cost_row(cost, kinds) for cost in words.costs(audits[name])]
    return [*header, *(f"{kind}, log10 p" for kind in kinds)], rows


def _cost_row(cost: Cost, kinds: Sequence[str]) -> list[str]:
    return [
        cost.attack,
        cost.strength,
        words.points(cost.loss),
        words.training(cost.steps, cost.share),
        f"{cost.samples:,}",
        f"{cost.seconds:.1f}",
        *(_evidence(cost, kind) for kind in kinds),
    ]


def _evidence(cost: Cost, kind: str) -> str:
    reading = cost.readings.get(kind)
    if reading is None or reading.log10_p is None:
        return "unreadable" if reading and reading.verdict == "unreadable" else "–"
    return f"{reading.log10_p:.0f}".replace("-0", "0").replace("-", "−") + f", {reading.verdict}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(c.replace('|', '/') for c in line)} |" for line in lines)


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "–": "--", "σ": r"$\sigma$", "λ": r"$\lambda$",
}  # fmt: skip


def _escaped(text: str) -> str:
    return re.sub("|".join(map(re.escape, _LATEX)), lambda found: _LATEX[found[0]], text)


def _latex(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str) -> str:
    body = "\n".join(" & ".join(map(_escaped, row)) + r" \\" for row in rows)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_escaped(caption)}}}\label{{tab:audit-{label}}}",
            rf"\begin{{tabular}}{{{'l' * len(header)}}}",
            r"\toprule",
            " & ".join(map(_escaped, header)) + r" \\",
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )
