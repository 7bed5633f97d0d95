"""Tables for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modeldeed.demo.result import DemoResult
from modeldeed.reporting.words import (
    LIMITS,
    bar_sentence,
    branch_sentence,
    chance,
    deployment_sentence,
    done_sentence,
    headline,
    luck_sentence,
    readings,
    wrong_key_sentence,
)
from modeldeed.results import BranchEvidence, LayerReading, Report, SignatureEvidence, Verdict

__all__ = ["demo_table", "report_table"]

_STYLES = {
    Verdict.VERIFIED: "green",
    Verdict.NOT_VERIFIED: "",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.EVIDENCE_INVALID: "red",
}


def demo_table(result: DemoResult) -> Group:
    """What the demo did, found and means.

    Args:
        result: of `run_demo`.

    Returns:
        Something that a rich console prints.
    """
    # Narrow gaps: the rows shall fit a terminal of 80 columns unbroken.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Model")
    table.add_column("Key")
    table.add_column("Accuracy", justify="right")
    table.add_column("Bits", justify="right", no_wrap=True)
    table.add_column("By luck", justify="right", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    for row in readings(result):
        table.add_row(
            row.model,
            row.key,
            f"{row.outcome.accuracy:.3f}",
            f"{row.outcome.matches}/{result.signature_bits}",
            chance(row.outcome.log10_p),
            Text(row.outcome.verdict.value, style=_STYLES[row.outcome.verdict]),
        )
    return Group(
        Text(headline(result), style="bold"),
        Text(luck_sentence(result)),
        Text(),
        table,
        Text(),
        *_section("What was done", (done_sentence(result),)),
        *_section("What the columns mean", (_BITS, bar_sentence(result))),
        *_section("What else was found", _found(result)),
        *_section("What this does not prove", LIMITS),
    )


_BITS = (
    "Bits: how many bits of the signature read as the key says. By luck: the chance that a model "
    "which has nothing to do with the key does as well."
)


def _found(result: DemoResult) -> tuple[str, ...]:
    return (
        f"Price of the mark: accuracy {result.public_accuracy:.3f} instead of "
        f"{result.plain_accuracy:.3f}; training took {result.training_time_ratio:.2f} times as "
        "long.",
        deployment_sentence(result),
        wrong_key_sentence(result),
        branch_sentence(result),
    )


def _section(title: str, sentences: tuple[str, ...]) -> list[Text | Padding]:
    parts: list[Text | Padding] = [Text(title, style="bold")]
    parts += [Padding(Text(sentence), (0, 0, 0, 2)) for sentence in sentences]
    return [*parts, Text()]


def report_table(report: Report) -> Group:
    """What a verification found, layer by layer.

    Args:
        report: of `modeldeed.verify`.

    Returns:
        Something that a rich console prints.
    """
    signature = report.signature
    parts: list[Text | Table] = [
        Text.assemble(
            (report.verdict.value.capitalize(), f"bold {_STYLES[report.verdict]}"),
            f": {report.reason}.",
        ),
        Text(),
        _facts(report),
        Text(),
        _layers(signature),
    ]
    if report.branch is not None:
        parts += [Text(), Text(_branch(report.branch))]
    parts += [Text(f"Warning: {warning}.", style="yellow") for warning in report.warnings]
    return Group(*parts)


def _facts(report: Report) -> Table:
    signature = report.signature
    required = signature.required_matches
    rows = {
        "suspect": f"{report.suspect}  (SHA-256 {report.suspect_digest[:16]}…)",
        "claimant": report.identity,
        "bits": f"{signature.matches} of {signature.bits} match; "
        + ("no number suffices" if required is None else f"{required} are needed"),
        "by luck": f"{chance(signature.log10_p)}  (log10 p {signature.log10_p:.1f}, log2 p "
        f"{signature.log2_p:.1f}; {signature.threshold_log2:g} verifies)",
        "after payment": f"log10 p {signature.log10_p_paid:.1f}, for keys that could have been "
        "tried beforehand",
        "margin": _margin(signature.median_margin) + " standard deviations in the median",
        "dated": "by an anchor" if report.anchored else "no",
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(value))
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
