"""The demo's tables for a terminal."""

from __future__ import annotations

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from modeldeed.demo.result import DemoResult
from modeldeed.reporting.narrow_table import narrow_table
from modeldeed.reporting.report_tables import STYLES
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

__all__ = ["demo_table"]


def demo_table(result: DemoResult) -> Group:
    """What the demo did, found and means.

    Args:
        result: of `run_demo`.

    Returns:
        Something that a rich console prints.
    """
    table = narrow_table(("Model", "Key"), ("Accuracy", "Bits", "By luck"), "Verdict")
    for row in readings(result):
        table.add_row(
            row.model,
            row.key,
            f"{row.outcome.accuracy:.3f}",
            f"{row.outcome.matches}/{result.signature_bits}",
            chance(row.outcome.log10_p),
            Text(row.outcome.verdict.value, style=STYLES[row.outcome.verdict]),
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
