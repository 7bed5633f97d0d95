"""The metrics of a card of the experiment ``plugin-cost``, and the card as Markdown."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Record

__all__ = ["Cost", "Part", "PluginCosts", "Spread", "Timing", "render"]

_Positive = Annotated[float, Field(gt=0)]


class Spread(Record):
    """A ratio over the repeats."""

    median: _Positive
    lowest: _Positive
    highest: _Positive


class Part(Record):
    """A piece of the fused model, timed by itself.

    Attributes:
        name: which.
        seconds: median over the repeats.
        share: of the target's seconds.
    """

    name: str
    seconds: _Positive
    share: _Positive


class Timing(Record):
    """One size of batch.

    Attributes:
        batch: images at a time.
        repeats: turns of each model.
        target_seconds: of the target alone, the median over the repeats.
        time_ratio: fused over target.
        published_time_ratio: the published fusion over target.
        parts: what the fused model does beside the target.
    """

    batch: int
    repeats: int
    target_seconds: _Positive
    time_ratio: Spread
    published_time_ratio: Spread
    parts: tuple[Part, ...]


class Cost(Record):
    """One target.

    Attributes:
        target: its name.
        parameters: of the target alone.
        parameters_added: by the plug-in.
        published_parameters_added: by the published fusion.
        flops: of the target for one image.
        flops_ratio: fused over target.
        published_flops_ratio: the published fusion over target.
        time_ratio: at the smallest batch, the median over the repeats.
        published_time_ratio: the same of the published fusion.
        peak_bytes: of the target alone, its weights included, at the largest batch.
        peak_bytes_added: by the plug-in; a few MiB either way are noise.
        published_peak_bytes_added: by the published fusion.
        timings: every size of batch.
    """

    target: str
    parameters: int
    parameters_added: int
    published_parameters_added: int
    flops: int
    flops_ratio: _Positive
    published_flops_ratio: _Positive
    time_ratio: _Positive
    published_time_ratio: _Positive
    peak_bytes: int
    peak_bytes_added: int
    published_peak_bytes_added: int
    timings: tuple[Timing, ...]


class PluginCosts(Record):
    """The metrics of a card."""

    targets: tuple[Cost, ...]


def render(card: Card) -> str:
    """One row for each target and size of batch, then what the plug-in's time goes into.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    targets = PluginCosts.model_validate(card.metrics).targets
    if not targets:
        return "No target was measured."
    return "\n\n".join([_sizes(targets), _times(targets), _parts(targets), _LEGEND])


_LEGEND = (
    "Over the target alone; random weights, no gradients. Operations: those of convolutions and "
    "matrix products, which are what torch counts. Memory: the rise of resident memory over two "
    "forwards of the largest batch in a process of its own, weights included. Time: CPU seconds of "
    "the process (wall time on a GPU); the models take turns, and each runs once untimed before "
    "its turn; the median over the repeats of ratios within one, in brackets the lowest and "
    "highest. Beside the target: the plug-in around a target that computes nothing, timed after a "
    "run of the target, so that a few hundredths are not lost in the noise of the target; of that, "
    "the detector, and its reduction of the image; the rest is preparation, gate and mixture. "
    "Published: a ResNet-18 with two outputs at full resolution, reimplemented."
)


def _sizes(targets: tuple[Cost, ...]) -> str:
    rows = [
        [
            cost.target,
            f"{cost.parameters / 1e6:.2f} M",
            f"+{cost.parameters_added / 1e6:.3f} M",
            f"+{cost.published_parameters_added / 1e6:.2f} M",
            f"{cost.flops / 1e9:.2f} G",
            f"{cost.flops_ratio:.4f}×",
            f"{cost.published_flops_ratio:.2f}×",
            f"{cost.peak_bytes / 2**20:.0f} MiB",
            f"{cost.peak_bytes_added / 2**20:+.1f} MiB",
            f"{cost.published_peak_bytes_added / 2**20:+.1f} MiB",
        ]
        for cost in targets
    ]
    header = ["target"]
    for quantity in ("parameters", "operations", "peak memory"):
        header += [quantity, "plug-in", "published"]
    return table(header, rows)


def _times(targets: tuple[Cost, ...]) -> str:
    rows = [
        [
            f"{cost.target}, batch {timing.batch}",
            f"{timing.target_seconds * 1e3:.1f} ms",
            _shown(timing.time_ratio),
            _shown(timing.published_time_ratio),
        ]
        for cost in targets
        for timing in cost.timings
    ]
    return table(("time", "target", "plug-in", "published"), rows)


def _shown(ratio: Spread) -> str:
    return f"{ratio.median:.3f}× ({ratio.lowest:.2f} – {ratio.highest:.2f})"


def _parts(targets: tuple[Cost, ...]) -> str:
    rows = [
        [
            f"{cost.target}, batch {timing.batch}",
            *(f"{part.seconds * 1e3:.2f} ms ({part.share:.1%})" for part in timing.parts),
        ]
        for cost in targets
        for timing in cost.timings
    ]
    names = [part.name for part in targets[0].timings[0].parts]
    return table(("beside the target", *names), rows)
