"""Write a synthetic model file with a passport in one layer, and time everything about its deed."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.experiments._deed_throughput_card import DeedTimes
from modeldeed.deed import Deed
from modeldeed.deed.files import save_opening
from modeldeed.deed.hashing import digest_model
from modeldeed.errors import ModelDeedError
from modeldeed.owner import Owner
from modeldeed.passport import Passport
from modeldeed.resolving import draw_nonce, resolve, suspect_digest
from modeldeed.results import Verdict
from modeldeed.streams import KeyStream

__all__ = ["ModelFile", "measured"]

_CHANNELS, _FAN = 672, 64


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model in one safetensors file: a marked layer, and other tensors up to a size.

    Attributes:
        mebibytes: of the file, about.
        tensor_mebibytes: of each of the other tensors.
    """

    mebibytes: int
    tensor_mebibytes: int = 64

    @property
    def name(self) -> str:
        """How it is called."""
        return f"{self.mebibytes}MiB"

    def write(self, path: Path, marked: dict[str, Tensor], seed: int) -> int:
        """Write it piece by piece, so that it need not fit into memory; return the tensors' count.

        Args:
            path: a new file.
            marked: tensors of the marked layer.
            seed: of the others.
        """
        sizes = {name: tensor.numel() * 4 for name, tensor in marked.items()}
        left = self.mebibytes * 2**20 - sum(sizes.values())
        each = self.tensor_mebibytes * 2**20
        while left > 0:
            sizes[f"rest.{len(sizes):05d}.weight"] = min(left, each) // 4 * 4
            left -= each
        header, place = {}, 0
        for name, size in sizes.items():
            shape = list(marked[name].shape) if name in marked else [size // 4]
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, place + size]}
            place += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        generator = torch.Generator().manual_seed(seed)
        base = torch.randn(max(1, each // 4), generator=generator)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for number, (name, size) in enumerate(sizes.items()):
                # Every tensor is another one, without the time that as many draws would take.
                tensor = marked[name] if name in marked else base[: size // 4] * (1 + number / 64)
                file.write(tensor.contiguous().numpy().tobytes())
        return len(sizes)


def measured(
    file: ModelFile, folder: Path, seed: int, repeats: int, seconds: tuple[str, ...]
) -> Iterator[DeedTimes]:
    """Register a file and judge a claim to it, with each of some second digests.

    Args:
        file: which.
        folder: an empty one.
        seed: of its weights.
        repeats: of everything but the judgment; hashing in interleaved pairs.
        seconds: algorithms beside SHA-256.

    Raises:
        ModelDeedError: the claim does not verify.
    """
    owner = Owner(hashlib.sha256(b"deed-throughput").digest())
    passport, state = _marked(owner, seed)
    path = folder / "reference.safetensors"
    tensors = file.write(path, state, seed)
    digest_model(path)  # brings the pages in, once
    for second in seconds:
        times = _registered(path, owner, passport, second, repeats)
        judged = _judged(owner, passport, folder, second)
        found = {"host": file.name, "second": second, "tensors": tensors, "bits": _CHANNELS}
        yield DeedTimes.model_validate(times | found | {"resolve_seconds": judged})


def _registered(
    path: Path, owner: Owner, passport: Passport, second: str, repeats: int
) -> dict[str, float]:
    """Everything about a file's deed but the judgment of a claim by it."""

    def made() -> Deed:
        return Deed.create(path, owner=owner, marks=[passport], second_digest=second)

    def hashed() -> object:
        return digest_model(path, second=second)

    deed, size = made(), path.stat().st_size
    pairs = [(_timed(lambda: _plain(path)), _timed(hashed)) for _ in range(repeats)]
    creations = [_timed(made)[0] for _ in range(repeats)]
    checks = [_timed(lambda: deed.check(model=path).require_valid())[0] for _ in range(repeats)]
    plain, digests = (median(pair[i][0] for pair in pairs) for i in (0, 1))
    return {
        "bytes": size,
        "create_seconds": median(creations),
        "check_seconds": median(checks),
        "digest_seconds": digests,
        "sha256_seconds": plain,
        "digest_bytes_per_second": size / digests,
        "hashing_ratio": median(sha[0] / whole[0] for sha, whole in pairs),
        "create_ratio": plain / median(creations),
        "hashing_cpu_ratio": median(whole[1] / sha[1] for sha, whole in pairs),
    }


def _marked(owner: Owner, seed: int) -> tuple[Passport, dict[str, Tensor]]:
    """A layer of which every bit reads as claimed: written by hand, since nothing is trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(_FAN, _CHANNELS), nn.LayerNorm(_CHANNELS))
    passport = Passport.issue(model, owner, example=torch.zeros(2, _FAN))
    key = passport.manifest.model_key(owner)
    rows = KeyStream(key, "passport", 0, "gamma").signs(_CHANNELS * _FAN)
    bits = KeyStream(key, "bits", 0).signs(_CHANNELS)
    state = dict(model.state_dict())
    state["0.weight"] = (rows.reshape(_CHANNELS, _FAN) * bits[:, None]).to(torch.float32)
    model.load_state_dict(state)
    return passport, state


def _judged(owner: Owner, passport: Passport, folder: Path, second: str) -> float:
    """Seconds of a resolution of one claim, whose reference is the suspect."""
    path, claim = folder / "reference.safetensors", folder / f"claim-{second}"
    deed = Deed.create(path, owner=owner, marks=[passport], second_digest=second)
    deed.save(claim)
    os.link(path, claim / path.name)
    nonce = draw_nonce()
    save_opening(claim / "opening.json", deed.open(owner, suspect_digest(path), nonce))
    start = time.perf_counter()
    found = resolve([claim], path, nonce=nonce)
    seconds = time.perf_counter() - start
    if found.claims[0].verdict is not Verdict.VERIFIED:
        raise ModelDeedError(f"the claim to {path.name} was found {found.claims[0].verdict}")
    return seconds


def _plain(path: Path) -> str:
    """The yardstick: one SHA-256 over the mapped file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return hashlib.sha256(data).hexdigest()


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time, and of processor time over all threads."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu
