from datetime import datetime, timezone
from pathlib import Path

import pytest

from benchmarks.cards import Card, Hardware, Versions
from benchmarks.experiments._throughput_card import ReadCheckpoint, Throughput, render
from benchmarks.experiments._throughput_reader import Checkpoint, measured
from benchmarks.registry import find
from modeldeed.suspects import open_weights

TINY = Checkpoint(mebibytes=1, width=128, shard_tensors=3)


def test_a_checkpoint_is_sharded_and_no_two_weights_are_alike(tmp_path: Path) -> None:
    TINY.write(tmp_path, seed=0)
    assert len(list(tmp_path.glob("*.safetensors"))) == 6
    weights = open_weights(tmp_path)
    targets = TINY.targets()
    assert len(targets) == TINY.tensors == 16
    first = {float(weights.tensor(target.weight)[0, 0]) for target in targets}
    assert len(first) == 16


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the kernel's accounts")
def test_a_tiny_checkpoint_is_measured(tmp_path: Path) -> None:
    TINY.write(tmp_path, seed=0)
    cell = measured(TINY, tmp_path, threads=1, repeats=2)
    assert (cell.host, cell.bytes, cell.tensors, cell.shards) == ("rows-1MiB", 2**20, 16, 6)
    assert cell.bits == 16 * 128
    assert 800 < cell.matches < 1250, "a key that marked nothing"
    assert cell.bytes_per_second == pytest.approx(cell.bytes / cell.seconds)
    assert min(cell.bytes_per_second_ratio, cell.digest_seconds, cell.report_seconds) > 0
    assert 0 <= cell.peak_rss_bytes < 300 * 2**20


def cell(host: str, mebibytes: int, seconds: float) -> ReadCheckpoint:
    return ReadCheckpoint(
        host=host, bytes=mebibytes * 2**20, tensors=1, largest_tensor_bytes=2**20, shards=1,
        threads=2, compiled=True, setup_seconds=1.0, bits=128, matches=64, seconds=seconds,
        sum_seconds=seconds / 2,
        bytes_per_second=mebibytes * 2**20 / seconds, bytes_per_second_ratio=0.5,
        bytes_per_cpu_second_ratio=0.25, peak_rss_bytes=2**24, report_seconds=seconds,
        digest_seconds=1.0, digest_bytes_per_second=2e9, digest_and_reading_seconds=1.5,
    )  # fmt: skip


def test_linearity_is_that_of_the_dearest_byte() -> None:
    cells = [cell("rows-1MiB", 1, 1.0), cell("rows-4MiB", 4, 5.0), cell("columns-1MiB", 1, 9.0)]
    assert Throughput.of(cells).linearity == pytest.approx(1.25)
    assert Throughput.of(cells[:1]).linearity is None


def test_the_table_has_a_row_for_every_checkpoint() -> None:
    metrics = Throughput.of([cell("rows-1MiB", 1, 1.0), cell("rows-4MiB", 4, 5.0)])
    card = Card(
        experiment="signature-throughput", setting="quick", metrics=metrics.model_dump(mode="json"),
        configuration={}, seeds=(0,),
        hardware=Hardware(cpu="A CPU", cores=2, threads=2, memory_bytes=2**30, gpu=None),
        versions=Versions(python="3.11", torch="2.9", numpy="2.0", modeldeed="0.1"),
        commit="0" * 40, date=datetime(2026, 1, 2, tzinfo=timezone.utc), seconds=20.0,
    )  # fmt: skip
    text = render(card)
    assert "| rows-4MiB | 1 | 5.000 | 0.00 | 0.50 | 0.25 | 16 MiB | 2.00 | 1.50 |" in text
    assert "factor of 1.25" in text
    assert find("signature-throughput").table is render
