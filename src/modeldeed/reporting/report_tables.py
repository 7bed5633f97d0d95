"""Reports as tables for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from modeldeed.reporting.words import chance
from modeldeed.results import (
    AlignedEvidence,
    AnswerEvidence,
    BranchEvidence,
    LayerReading,
    Report,
    SignatureEvidence,
    Verdict,
)

__all__ = ["STYLES", "aligned_facts", "report_table"]

STYLES = {
    Verdict.VERIFIED: "green",
    Verdict.NOT_VERIFIED: "",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.EVIDENCE_INVALID: "red",
}


def report_table(report: Report) -> Group:
    """What a verification found: layer by layer, or batch by batch.

    Args:
        report: of `modeldeed.verify`.

    Returns:
        Something that a rich console prints.
    """
    parts: list[Text | Table] = [
        Text.assemble(
            (report.verdict.value.capitalize(), f"bold {STYLES[report.verdict]}"),
            f": {report.reason}.",
        ),
        Text(),
    ]
    common = {
        "suspect": f"{report.suspect}  (SHA-256 {report.suspect_digest[:16]}…)",
        "claimant": report.identity,
        "dated": _dated(report),
    }
    if report.signature is not None:
        facts = {**common, **_signature_facts(report.signature)}
        parts += [_facts(facts), Text(), _layers(report.signature)]
    if report.aligned is not None:
        parts += [Text(), _facts(aligned_facts(report.aligned))]
    if report.answers is not None:
        parts += [_facts({**common, **_answer_facts(report.answers)})]
    if report.answers is not None and report.answers.nulls:
        parts += [Text(), _nulls(report.answers)]
    if report.branch is not None:
        parts += [Text(), Text(_branch(report.branch))]
    parts += [Text(f"Warning: {warning}.", style="yellow") for warning in report.warnings]
    return Group(*parts)


def _dated(report: Report) -> str:
    time = report.anchor_time
    if time is None:
        return "not by an anchor"
    return f"anchor of {time.earliest:%Y-%m-%d %H:%M:%S} UTC, signed by {time.authority}"


def _signature_facts(signature: SignatureEvidence) -> dict[str, str]:
    required = signature.required_matches
    return {
        "bits": f"{signature.matches} of {signature.bits} match; "
        + ("no number suffices" if required is None else f"{required} are needed"),
        "by luck": f"{chance(signature.log10_p)}  (log10 p {signature.log10_p:.1f}, log2 p "
        f"{signature.log2_p:.1f}; {signature.threshold_log2:g} verifies)",
        "after payment": f"log10 p {signature.log10_p_paid:.1f}, for keys that could have been "
        "tried beforehand",
        "margin": _margin(signature.median_margin) + " standard deviations in the median",
    }


def aligned_facts(aligned: AlignedEvidence) -> dict[str, str]:
    """An aligned reading in lines of a name and a value.

    Args:
        aligned: of a report or of a claim in a dispute.
    """
    required, decoys = aligned.required_matches, aligned.decoys
    facts = {
        "aligned": f"{aligned.matches} of {aligned.bits} bits match; "
        + ("no number suffices" if required is None else f"{required} are needed"),
        "by luck": f"{chance(aligned.log10_p)}  (log10 p {aligned.log10_p:.1f}, after payment "
        f"{aligned.log10_p_paid:.1f})",
        "wrong keys": f"the best of {decoys.count} matches {decoys.best}, "
        f"rank p {decoys.rank_p:.3g}",
        "order": aligned.order or "not checked: no exhibit was shown",
        "took": f"{aligned.probe_seconds:.1f} s for probes, {aligned.match_seconds:.1f} s for "
        f"matching, {aligned.decoy_seconds:.1f} s for wrong keys",
    }
    if aligned.note is not None:
        facts["but"] = aligned.note
    return facts


def _answer_facts(answers: AnswerEvidence) -> dict[str, str]:
    facts = {
        "answers": f"{answers.matches} of {answers.queries} match, of {answers.planned} triggers"
        + (f"; {answers.refused} refused" if answers.refused else ""),
        "by luck": f"an unrelated model matches 1 in {answers.classes}",
    }
    if answers.match_rate is not None:
        facts["match rate"] = (
            f"{answers.match_rate:.2f}, between {answers.rate_low:.2f} and {answers.rate_high:.2f}"
            " (95 %)"
        )
    if answers.log10_e is None or answers.log10_e_absent is None:
        facts["evidence"] = (
            f"log10 p {answers.log10_p:.1f}; {-answers.threshold_log10:.1f} verifies, which pays "
            "for keys that could have been tried"
        )
        return facts
    facts["for the mark"] = (
        f"log10 E {answers.log10_e:.1f}; {answers.threshold_log10:.1f} verifies, which pays for "
        "keys that could have been tried"
    )
    facts["against it"] = (
        f"log10 E {answers.log10_e_absent:.1f} that the rate is below {answers.least_rate:.2f}; "
        "3.0 decides"
    )
    return facts


def _facts(rows: dict[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _nulls(answers: AnswerEvidence) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("The same triggers", overflow="fold")
    for column in ("Asked", "Match", "log10 E"):
        table.add_column(column, justify="right")
    # Sequentially the mean over batches, as the verdict takes it; of a fixed number the only one.
    best = answers.batches[0].log10_e if answers.log10_e is None else answers.log10_e
    table.add_row("the suspect", str(answers.queries), str(answers.matches), f"{best:.1f}")
    for null in answers.nulls:
        table.add_row(Text(null.model), str(null.queries), str(null.matches), f"{null.log10_e:.1f}")
    return table


def _layers(signature: SignatureEvidence) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Layer", overflow="fold")
    for column in ("Bits", "Match", "Unreadable", "Median margin", "Lowest"):
        table.add_column(column, justify="right")
    for layer in signature.layers:
        table.add_row(*_layer(layer))
    return table


def _layer(layer: LayerReading) -> tuple[Text | str, ...]:
    return (
        Text(layer.norm),  # the claimant's word: never read as markup
        str(layer.bits),
        str(layer.matches),
        str(layer.undecided),
        _margin(layer.median_margin),
        _margin(layer.lowest_margin),
    )


def _margin(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _branch(branch: BranchEvidence) -> str:
    return (
        f"Private branch: it {_WORDS[branch.word.value]} ({branch.reason}). The model as it is "
        f"has accuracy {branch.public_accuracy:.3f}. {len(branch.decoys)} of "
        f"{branch.planned_decoys} wrong keys were tried; rank p {branch.rank_p:.3g}."
    )


_WORDS = {
    "supports": "supports the claim",
    "contradicts": "contradicts the claim",
    "uninformative": "says nothing about the claim",
}
