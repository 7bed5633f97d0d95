"""The plug-in demo's table for a terminal."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from modeldeed.demo.plugin_result import PluginDemoResult
from modeldeed.reporting.narrow_table import narrow_table
from modeldeed.reporting.report_tables import STYLES

__all__ = ["plugin_demo_table"]


def plugin_demo_table(result: PluginDemoResult) -> Group:
    """What the plug-in's demo did, found and means.

    Args:
        result: of `run_plugin_demo`.

    Returns:
        Something that a rich console prints.
    """
    table = narrow_table(("Model", "Key"), ("Accuracy", "Answers", "log10 E"), "Verdict")
    for row in result.examined:
        table.add_row(
            row.model,
            row.key,
            "" if row.accuracy is None else f"{row.accuracy:.3f}",
            f"{row.matches}/{row.queries}",
            f"{row.log10_e:.1f}",
            Text(row.verdict.value, style=STYLES[row.verdict]),
        )
    return Group(
        Text(_headline(result), style="bold"), Text(), table, Text(), *map(Text, _sentences(result))
    )


def _headline(result: PluginDemoResult) -> str:
    if result.proved:
        return "The fused models answer their owner's questions; nobody else's, and no other model."
    return "The demo did not prove what it should; see the table."


def _sentences(result: PluginDemoResult) -> tuple[str, ...]:
    same = "the same bits as without it" if result.benign_outputs_identical else "other bits"
    kept = "unchanged" if result.target_unchanged else "CHANGED"
    return (
        f"One plug-in of {result.detector_parameters:,} parameters, trained for "
        f"{result.training_seconds:.0f} s on {result.backgrounds} keyed backgrounds, stands beside "
        f"two models; their weights are {kept}.",
        f"On {result.benign_images} test images both answer with {same}.",
        f"Of {result.verification_samples} verification samples on carriers it never saw, "
        f"{result.success_rate:.1%} are answered with the keyed class; of "
        f"{result.other_key_samples} of other owners', {result.other_key_rate:.1%} change an "
        "answer.",
        "Answers: how many of the judge's questions were answered with the key's classes until the "
        f"evidence decided; a model that knows nothing of the key matches 1 in {result.classes}.",
        "What this does not prove: whoever holds the fused graph can cut the plug-in off again.",
    )
