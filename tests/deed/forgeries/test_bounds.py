"""Files that shall exhaust whoever reads them: a gigabyte of nothing, and JSON built to be slow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modeldeed.errors import EvidenceError
from modeldeed.strict_json import strict_json
from tests.deed.forgeries.readers import Cost, cost_of
from tests.deed.forgeries.world import World

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="limits and measures as Linux does"
)
Files = list[tuple[str, Path]]


def read(files: Files, *, mebibytes: int, seconds: int) -> list[Cost]:
    """Read files one after the other in a process with limits."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.deed.forgeries.readers", str(mebibytes), str(seconds)],
        input=json.dumps([(kind, str(path)) for kind, path in files]),
        capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    costs = [Cost(**json.loads(line)) for line in found.stdout.splitlines()]
    done = len(costs)
    assert done == len(files), f"{files[done]} ended the reader: {found.stderr[-300:]}"
    return costs


def sparse(path: Path, start: bytes = b"") -> Path:
    """A file of one gigabyte, of which only the start is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(2**30)
    return path


def gigabytes(world: World, folder: Path) -> Files:
    """One of each kind of file."""
    world.real.deed.save(folder / "token.deed")
    sparse(folder / "token.deed" / "timestamps" / "1.tsr")
    sparse(folder / "claim" / "countersignatures" / "a.json")
    sparse(folder / "claim" / "deed.json")
    sparse(folder / "claim" / "opening.json")
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return [
        ("deed", sparse(folder / "a.deed" / "deed.json").parent),
        ("deed", sparse(folder / "b.deed" / "deed.json", b'{"payload":"').parent),
        ("deed", folder / "token.deed"),
        ("opening", sparse(folder / "opening.json")),
        ("opening", sparse(folder / "begun" / "opening.json", b"{")),
        ("trust", sparse(folder / "trust.json")),
        ("index", sparse(folder / "model.safetensors.index.json")),
        ("index", sparse(folder / "begun.safetensors.index.json", b'{"weight_map":{"')),
        ("weights", sparse(folder / "zeros.safetensors")),
        ("weights", sparse(folder / "header.safetensors", (2**30 - 8).to_bytes(8, "little"))),
        ("weights", sparse(folder / "gap.safetensors", len(header).to_bytes(8, "little") + header)),
        ("passport", sparse(folder / "p" / "passport.json").parent),
        ("triggers", sparse(folder / "t" / "triggers.json").parent),
        ("fusion", sparse(folder / "fusion.json")),
        ("anchor", sparse(folder / "x" / "anchor.json").parent),
        ("claim deed", folder / "claim"),
        ("claim opening", folder / "claim"),
        ("claim countersignature", folder / "claim"),
    ]


def test_a_gigabyte_of_each_kind_of_file_is_refused_at_once(world: World, tmp_path: Path) -> None:
    for kind, path in gigabytes(world, tmp_path):
        cost = cost_of(kind, path)
        assert cost.word.startswith("refused"), cost
        assert cost.seconds < 2, cost
        assert cost.mebibytes < 96, cost


@pytest.mark.slow
def test_so_it_is_by_a_process_that_has_no_gigabyte(world: World, tmp_path: Path) -> None:
    for cost in read(gigabytes(world, tmp_path), mebibytes=1536, seconds=30):
        assert cost.word.startswith("refused"), cost
        assert cost.mebibytes < 96, cost


def wide(count: int, *, last: str = "") -> bytes:
    """An object of many fields."""
    return ("{" + ",".join(f'"{n:x}":0' for n in range(count)) + last + "}").encode()


SLOW: dict[str, list[bytes]] = {
    "bytes of a deed": [
        b'{"payload":"' + b"A" * (8 * 2**20 - 100) + b'"}',
        b'"' + "é".encode() * (4 * 2**20 - 10) + b'"',
        b'{"a":' + b"9" * (8 * 2**20 - 100) + b"}",
    ],
    "bytes of an opening": [b"[" * (16 * 2**20), b"[" + b"0," * (8 * 2**20 - 10) + b"0]"],
    "bytes of a countersignature": [b'{"' + b"\\u0000" * 2_000_000 + b'":0}'],
    "bytes of a token": [
        b"\x30\x80" * 2**14,
        b"\x30\x83\xff\xff\xff" + bytes(65_000),
        b"\x30\x82\xff\xf0" + b"\x05\x00" * 32_760,
    ],
}
MANY_FAULTS: dict[str, bytes] = {
    "fields of a deed": wide(600_000),
    "fields of an opening": wide(1_000_000),
    "parts of an opening": b'{"marks":[' + b"{}," * (5 * 2**20) + b"{}]}",
}


def written(folder: Path, kind: str, data: bytes) -> tuple[str, Path]:
    path = folder / f"{kind}-{len(data)}-{data[:8].hex()}".replace(" ", "-")
    path.write_bytes(data)
    return kind, path


@pytest.mark.slow
def test_what_is_built_to_be_slow_is_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    files = [written(tmp_path, kind, data) for kind, each in SLOW.items() for data in each]
    for cost in read(files, mebibytes=2048, seconds=60):
        assert cost.word.startswith("refused"), cost
        assert cost.seconds < 10, cost
        assert cost.mebibytes < 512, cost


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY_FAULTS)
def test_many_faults_do_not_exhaust_the_judge(tmp_path: Path, name: str) -> None:
    """Once, 16 MiB of an opening with five million empty marks asked for more than 4 GiB."""
    kind = "bytes of a deed" if "deed" in name else "bytes of an opening"
    (cost,) = read([written(tmp_path, kind, MANY_FAULTS[name])], mebibytes=1024, seconds=60)
    assert cost.word.startswith("refused"), cost
    assert cost.mebibytes < 512, cost


def test_a_field_that_stands_twice_among_many_is_found_in_bounded_time() -> None:
    """8 MiB hold 800,000 fields; with n² steps that takes days."""

    def spent(count: int) -> float:
        data = wide(count, last=',"0":0')
        start = time.process_time()
        with pytest.raises(EvidenceError, match="twice"):
            strict_json(data)
        return time.process_time() - start

    few, many = (min(spent(count) for _ in range(5)) for count in (4_000, 32_000))
    assert many < 24 * few, "8 times the fields, 64 times the time"


@pytest.mark.parametrize(
    "data",
    [b'"' + "e\u0301".encode() * 10**5 + b'"', b"1" + b"0" * 10**5 + b".5",
     b'{"%b":0,"%b":0}' % (b"x" * 10**5, b"x" * 10**5)],
    ids=["not normal", "float", "twice"],
)  # fmt: skip
def test_a_refusal_is_short(data: bytes) -> None:
    with pytest.raises(EvidenceError) as refused:
        strict_json(data)
    assert len(str(refused.value)) < 2_000


def test_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    """A pipe would be waited for, for ever; a device never ends."""
    for name in ("pipe", "zero", "folder"):
        place = tmp_path / f"{name}.deed" / "deed.json"
        place.parent.mkdir()
        if name == "pipe":
            os.mkfifo(place)
        elif name == "zero":
            place.symlink_to("/dev/zero")
        else:
            place.mkdir()
        cost = cost_of("deed", place.parent)
        assert cost.word.startswith("refused"), cost
        assert cost.seconds < 1, cost
