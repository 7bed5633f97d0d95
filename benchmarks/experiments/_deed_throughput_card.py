"""The metrics of a deed-throughput card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Record

__all__ = ["DeedThroughput", "DeedTimes", "render"]

_LEAST_RATIO = 0.8


class DeedTimes(Record):
    """One model file, registered and judged.

    Attributes:
        host: its name, by its size.
        second: the digest beside SHA-256: ``"blake3"`` or ``"sha512"``.
        bytes: of the file.
        tensors: in it.
        bits: of the claim.
        create_seconds: of making its deed; median.
        check_seconds: of checking the deed against the file; median.
        resolve_seconds: of one claim to this file as the suspect and its own reference; once.
        digest_seconds: of all digests that a deed has; median, interleaved with the next.
        sha256_seconds: of ``hashlib.sha256`` over the same mapped file; median.
        digest_bytes_per_second: of all digests.
        hashing_ratio: speed of all digests to that of the one plain SHA-256; median over pairs.
        create_ratio: the same of the whole creation.
        hashing_cpu_ratio: processor time of all digests over that of the plain SHA-256.
    """

    host: str
    second: str
    bytes: int
    tensors: int
    bits: int
    create_seconds: float
    check_seconds: float
    resolve_seconds: float
    digest_seconds: float
    sha256_seconds: float
    digest_bytes_per_second: float
    hashing_ratio: float
    create_ratio: float
    hashing_cpu_ratio: float


class DeedThroughput(Record):
    """The metrics of a deed-throughput card.

    Attributes:
        cells: the files.
        lowest_ratio: of hashing to a plain SHA-256, over files of at least 64 MiB; None without.
        wanted_ratio: what was set as the aim.
    """

    cells: tuple[DeedTimes, ...]
    lowest_ratio: float | None
    wanted_ratio: float = _LEAST_RATIO

    @classmethod
    def of(cls, cells: Sequence[DeedTimes]) -> DeedThroughput:
        """The metrics of some files."""
        large = [cell.hashing_ratio for cell in cells if cell.bytes >= 64 * 2**20]
        return cls(cells=tuple(cells), lowest_ratio=min(large, default=None))


_HEADER = (
    "file",
    "second digest",
    "create, s",
    "check, s",
    "resolve, s",
    "all digests, GB/s",
    "of SHA-256 alone",
    "processor time",
)


def render(card: Card) -> str:
    """One row for each file and second digest.

    Args:
        card: a deed-throughput card.

    Returns:
        A Markdown table and what its columns say.
    """
    metrics = DeedThroughput.model_validate(card.metrics)
    lowest = metrics.lowest_ratio
    found = (
        "" if lowest is None
        else f" The aim is at least {metrics.wanted_ratio:.2f}; the lowest from 64 MiB on is "
        f"{lowest:.2f}."
    )  # fmt: skip
    legend = (
        "A synthetic safetensors file from the page cache with a passport in one layer. *Create* "
        "makes the deed, *check* holds it against the file without secrets, *resolve* is the whole "
        "judgment of one claim, the file being both suspect and reference. *All digests* are the "
        "two of the file and the tensor root, side by side in threads; *of SHA-256 alone* is "
        "their speed relative to one `hashlib.sha256` over the same mapped file, interleaved, "
        f"median, and *processor time* what they take of it together.{found}"
    )
    return f"{table(_HEADER, [_row(cell) for cell in metrics.cells])}\n\n{legend}"


def _row(cell: DeedTimes) -> tuple[str, ...]:
    return (
        cell.host,
        cell.second,
        f"{cell.create_seconds:.3f}",
        f"{cell.check_seconds:.3f}",
        f"{cell.resolve_seconds:.2f}",
        f"{cell.digest_bytes_per_second / 1e9:.2f}",
        f"{cell.hashing_ratio:.2f}",
        f"{cell.hashing_cpu_ratio:.2f}",
    )
