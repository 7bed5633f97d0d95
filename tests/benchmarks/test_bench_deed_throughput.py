from datetime import datetime, timezone
from pathlib import Path

import pytest

from benchmarks.cards import Card, Hardware, Versions
from benchmarks.experiments import deed_throughput as module
from benchmarks.experiments._deed_throughput_card import DeedThroughput, DeedTimes, render
from benchmarks.experiments._deed_throughput_files import ModelFile, measured
from benchmarks.registry import find
from modeldeed.digests import tensor_root
from modeldeed.suspects import open_weights

TINY = ModelFile(mebibytes=1, tensor_mebibytes=1)


def test_a_tiny_file_is_registered_checked_and_judged(tmp_path: Path) -> None:
    (cell,) = measured(TINY, tmp_path, seed=0, repeats=2, seconds=("sha512",))
    assert (cell.host, cell.second, cell.bits) == ("1MiB", "sha512", 672)
    assert cell.bytes == pytest.approx(2**20, rel=0.01)
    path = tmp_path / "reference.safetensors"
    weights = open_weights(path)
    assert len(weights.names()) == cell.tensors == 5
    assert cell.hashing_ratio > 0
    assert cell.create_seconds > cell.sha256_seconds
    assert cell.digest_bytes_per_second == pytest.approx(cell.bytes / cell.digest_seconds)


def test_a_file_is_what_safetensors_reads(tmp_path: Path) -> None:
    import torch

    marked = {"a": torch.arange(6.0).reshape(2, 3)}
    path = tmp_path / "x.safetensors"
    ModelFile(mebibytes=3, tensor_mebibytes=1).write(path, marked, seed=1)
    weights = open_weights(path)
    assert torch.equal(weights.tensor("a"), marked["a"])
    roots = {tensor_root({"x": weights.tensor(n)}) for n in weights.names() if n != "a"}
    assert len(roots) == len(weights.names()) - 1 >= 3, "no two tensors are alike"


def cell(mebibytes: int, ratio: float) -> DeedTimes:
    return DeedTimes(
        host=f"{mebibytes}MiB", second="blake3", bytes=mebibytes * 2**20, tensors=4, bits=672,
        create_seconds=0.5, check_seconds=0.25, resolve_seconds=2.0, digest_seconds=0.1,
        sha256_seconds=0.1 * ratio, digest_bytes_per_second=1e9, hashing_ratio=ratio,
        create_ratio=0.5, hashing_cpu_ratio=2.5,
    )  # fmt: skip


def test_the_lowest_ratio_is_that_of_files_worth_the_threads() -> None:
    metrics = DeedThroughput.of([cell(1, 0.2), cell(64, 0.9), cell(256, 0.85)])
    assert metrics.lowest_ratio == 0.85
    assert DeedThroughput.of([cell(1, 0.2)]).lowest_ratio is None


def test_a_file_that_does_not_fit_is_noted_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told:
        notes: list[str] = []  # noqa: RUF012

        def note(self, text: str) -> None:
            self.notes.append(text)

    huge, told = ModelFile(mebibytes=2**40), Told()
    assert not module._has_room(told, huge)  # type: ignore[arg-type]
    assert "MODELDEED_SCRATCH" in told.notes[0]
    assert module._has_room(told, TINY)  # type: ignore[arg-type]
    assert len(told.notes) == 1


def test_the_table_has_a_row_for_every_file() -> None:
    metrics = DeedThroughput.of([cell(64, 0.9), cell(256, 0.85)])
    card = Card(
        experiment="deed-throughput", setting="quick", metrics=metrics.model_dump(mode="json"),
        configuration={}, seeds=(0,),
        hardware=Hardware(cpu="A CPU", cores=2, threads=2, memory_bytes=2**30, gpu=None),
        versions=Versions(python="3.11", torch="2.9", numpy="2.0", modeldeed="0.1"),
        commit="0" * 40, date=datetime(2026, 1, 2, tzinfo=timezone.utc), seconds=20.0,
    )  # fmt: skip
    text = render(card)
    assert "| 256MiB | blake3 | 0.500 | 0.250 | 2.00 | 1.00 | 0.85 | 2.50 |" in text
    assert "the lowest from 64 MiB on is 0.85" in text
    assert find("deed-throughput").table is render
