"""Write a synthetic sharded checkpoint, and read it in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from benchmarks.experiments._throughput_card import ReadCheckpoint
from benchmarks.memory import resident_bytes
from modeldeed.anchor import Target
from modeldeed.errors import ModelDeedError
from modeldeed.passport.evidence import _compiled_sums
from modeldeed.passport.evidence.reading import load_layers, masked_margins, read_signature
from modeldeed.statistics import Budget
from modeldeed.streams import derive
from modeldeed.suspects import open_weights

__all__ = ["Checkpoint", "measured"]

_SAMPLE_SECONDS = 0.002


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A synthetic checkpoint of linear layers and their norms.

    Attributes:
        mebibytes: of its bound weights.
        side: how the channels lie in them.
        width: rows and columns of each weight, float32.
        shard_tensors: weights in one file.
    """

    mebibytes: int
    side: Literal["rows", "columns"] = "rows"
    width: int = 4096
    shard_tensors: int = 4

    @property
    def name(self) -> str:
        """How it is called."""
        return f"{self.side}-{self.mebibytes}MiB"

    @property
    def tensors(self) -> int:
        """Number of its weights."""
        return max(1, self.mebibytes * 2**20 // (4 * self.width**2))

    def targets(self) -> list[Target]:
        """What a claim to it would list."""
        return [
            Target(
                norm=f"layer{i}.norm", kind="layer", channels=self.width,
                affine=f"layer{i}.norm.weight", weight=f"layer{i}.linear.weight",
                shape=(self.width, self.width), axis=0 if self.side == "rows" else 1,
                side=self.side,
            )
            for i in range(self.tensors)
        ]  # fmt: skip

    def write(self, folder: Path, seed: int) -> None:
        """Write it shard by shard, with an index.

        Args:
            folder: an existing folder.
            seed: of its weights.
        """
        generator = torch.Generator().manual_seed(seed)
        base = torch.randn(self.width, self.width, generator=generator)
        shards = -(-self.tensors // self.shard_tensors)
        where: dict[str, str] = {}
        for shard in range(shards):
            first = shard * self.shard_tensors
            tensors: dict[str, torch.Tensor] = {}
            for i in range(first, min(first + self.shard_tensors, self.tensors)):
                # Every weight is another one, without the time that as many draws would take.
                tensors[f"layer{i}.linear.weight"] = base.roll(i + 1, 1) * (1 + i / 64)
                tensors[f"layer{i}.norm.weight"] = torch.rand(self.width, generator=generator)
            name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
            save_file(tensors, folder / name)
            where |= dict.fromkeys(tensors, name)
        index = {"metadata": {"total_size": self.mebibytes * 2**20}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def measured(checkpoint: Checkpoint, folder: Path, threads: int, repeats: int) -> ReadCheckpoint:
    """Read a checkpoint in a fresh process, whose memory nobody else uses.

    Args:
        checkpoint: which; it was written.
        folder: where.
        threads: to read and to sum with.
        repeats: interleaved pairs.

    Returns:
        What was measured.

    Raises:
        ModelDeedError: the process failed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, checkpoint, folder, threads, repeats)
    process = context.Process(target=_read, args=arguments)
    process.start()
    sender.close()
    # From here, so that no thread of the reading process competes with its readers.
    seen = []
    try:
        while not receiver.poll(_SAMPLE_SECONDS):
            seen.append(resident_bytes("RssAnon", process.pid))
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        raise ModelDeedError(f"the process that read {checkpoint.name} ended early") from None
    finally:
        process.join()
    peak = max([found["peak_rss_bytes"], *seen])
    return ReadCheckpoint.model_validate(found | {"peak_rss_bytes": peak - found.pop("level")})


def _read(sender: Any, checkpoint: Checkpoint, folder: Path, threads: int, repeats: int) -> None:
    torch.set_num_threads(threads)
    key = derive(bytes(32), "signature-throughput")
    level = resident_bytes("RssAnon")
    start = time.perf_counter()
    compiled = _compiled_sums.compiled_sums() is not None
    _compiled_sums.WORTH_COMPILING = 0  # at every size, so that sizes can be compared
    setup = time.perf_counter() - start
    weights = open_weights(folder)
    layers = load_layers(weights, checkpoint.targets())
    masked_margins(layers, key)  # brings the pages in, once
    sums, readings = [], []
    for _ in range(repeats):
        sums.append(_timed(lambda: [layer.channels.data.sum() for layer in layers]))
        readings.append(_timed(lambda: masked_margins(layers, key)))
    seconds = median(wall for wall, _ in readings)
    pairs = list(zip(sums, readings, strict=True))
    evidence = read_signature(layers, key, Budget())
    report, _ = _timed(lambda: read_signature(layers, key, Budget()))
    digest, _ = _timed(weights.digest)

    def both() -> None:
        with ThreadPoolExecutor(1) as beside:
            hashed = beside.submit(weights.digest)
            masked_margins(layers, key)
            hashed.result()

    sizes = [layer.channels.data.numel() * 4 for layer in layers]
    total = sum(sizes)
    sender.send(
        ReadCheckpoint(
            host=checkpoint.name,
            bytes=total,
            tensors=len(layers),
            largest_tensor_bytes=max(sizes),
            shards=-(-checkpoint.tensors // checkpoint.shard_tensors),
            threads=threads,
            compiled=compiled,
            setup_seconds=setup,
            bits=evidence.bits,
            matches=evidence.matches,
            seconds=seconds,
            sum_seconds=median(wall for wall, _ in sums),
            bytes_per_second=total / seconds,
            bytes_per_second_ratio=median(s[0] / r[0] for s, r in pairs),
            bytes_per_cpu_second_ratio=median(s[1] / r[1] for s, r in pairs),
            peak_rss_bytes=resident_bytes("RssAnon"),
            report_seconds=report,
            digest_seconds=digest,
            digest_bytes_per_second=total / digest,
            digest_and_reading_seconds=_timed(both)[0],
        ).model_dump()
        | {"level": level}
    )


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time, and of processor time over all threads."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu
