"""The metrics of a signature-throughput card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Record

__all__ = ["ReadCheckpoint", "Throughput", "render"]


class ReadCheckpoint(Record):
    """One synthetic checkpoint, read in a process of its own.

    Attributes:
        host: its name: how channels lie, and its size.
        bytes: of the bound tensors, float32.
        tensors: how many there are.
        largest_tensor_bytes: of them.
        shards: files they lie in.
        threads: that sum, and that read where the sums are compiled; NumPy reads on one.
        compiled: whether they were (extra ``fast``).
        setup_seconds: of compiling, once in a process.
        bits: of the claim.
        matches: that were read as claimed, by a key that nothing was marked with.
        seconds: of one reading of all bits; median.
        sum_seconds: of ``torch.sum`` over the same mapped bytes; median, interleaved.
        bytes_per_second: of the reading.
        bytes_per_second_ratio: of the reading to ``torch.sum``; median over interleaved pairs.
        bytes_per_cpu_second_ratio: the same of processor time: what other work on the machine
            does not change.
        peak_rss_bytes: anonymous memory above the level after imports, during the readings.
        report_seconds: of a reading with its p-value and threshold, whose cost follows the
            number of bits.
        digest_seconds: of the digest of all files, by itself.
        digest_bytes_per_second: of it.
        digest_and_reading_seconds: both side by side, as a verification runs them.
    """

    host: str
    bytes: int
    tensors: int
    largest_tensor_bytes: int
    shards: int
    threads: int
    compiled: bool
    setup_seconds: float
    bits: int
    matches: int
    seconds: float
    sum_seconds: float
    bytes_per_second: float
    bytes_per_second_ratio: float
    bytes_per_cpu_second_ratio: float
    peak_rss_bytes: int
    report_seconds: float
    digest_seconds: float
    digest_bytes_per_second: float
    digest_and_reading_seconds: float


class Throughput(Record):
    """The metrics of a signature-throughput card.

    Attributes:
        cells: the checkpoints.
        linearity: seconds per byte of the dearest over those of the cheapest size, of checkpoints
            whose channels are rows; 1 is exactly linear. None for a single size.
    """

    cells: tuple[ReadCheckpoint, ...]
    linearity: float | None

    @classmethod
    def of(cls, cells: Sequence[ReadCheckpoint]) -> Throughput:
        """The metrics of some checkpoints."""
        costs = [cell.seconds / cell.bytes for cell in cells if cell.host.startswith("rows")]
        linearity = max(costs) / min(costs) if len(costs) > 1 else None
        return cls(cells=tuple(cells), linearity=linearity)


_HEADER = (
    "checkpoint",
    "tensors",
    "seconds",
    "GB/s",
    "of torch.sum",
    "by processor time",
    "peak memory",
    "digest, GB/s",
    "with digest, seconds",
)


def render(card: Card) -> str:
    """One row per checkpoint.

    Args:
        card: a signature-throughput card.

    Returns:
        A Markdown table and what its columns say.
    """
    metrics = Throughput.model_validate(card.metrics)
    threads = metrics.cells[0].threads if metrics.cells else 0
    cost = "" if metrics.linearity is None else (
        f" Between the sizes of row checkpoints the cost of a byte differs by a factor of "
        f"{metrics.linearity:.2f}."
    )  # fmt: skip
    compiled = all(cell.compiled for cell in metrics.cells)
    how = f"read by compiled sums on {threads}" if compiled else "read by NumPy on one thread"
    legend = (
        f"Level 1 of a synthetic float32 checkpoint from the page cache, {how} and "
        f"summed on {threads}; "
        "*rows* and *columns* is how the channels lie in the bound tensors. Seconds and GB/s are "
        "of the reading, *of torch.sum* its speed relative to a sum of the same mapped bytes, "
        "interleaved, median, by wall and by processor time; peak memory is anonymous memory above "
        "the level after imports; the "
        f"SHA-256 of the files runs beside the reading.{cost}"
    )
    return f"{table(_HEADER, [_row(cell) for cell in metrics.cells])}\n\n{legend}"


def _row(cell: ReadCheckpoint) -> tuple[str, ...]:
    return (
        cell.host,
        f"{cell.tensors}",
        f"{cell.seconds:.3f}",
        f"{cell.bytes_per_second / 1e9:.2f}",
        f"{cell.bytes_per_second_ratio:.2f}",
        f"{cell.bytes_per_cpu_second_ratio:.2f}",
        f"{cell.peak_rss_bytes / 2**20:.0f} MiB",
        f"{cell.digest_bytes_per_second / 1e9:.2f}",
        f"{cell.digest_and_reading_seconds:.2f}",
    )
