import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cells import CellStore

COMMON = {"code": "abc"}


def test_a_cell_is_computed_once(tmp_path: Path) -> None:
    calls = []

    def compute():
        calls.append(1)
        return {"accuracy": 0.25}

    first = CellStore(tmp_path / "cells", COMMON).get("host-0", {"epochs": 1}, compute)
    again = CellStore(tmp_path / "cells", COMMON).get("host-0", {"epochs": 1}, compute)
    assert len(calls) == 1
    assert (first.resumed, again.resumed) == (False, True)
    assert (again.values, again.seconds) == (first.values, first.seconds)


@pytest.mark.parametrize(
    ("name", "configuration", "common", "fresh"),
    [
        ("host-1", {"epochs": 1}, COMMON, False),
        ("host-0", {"epochs": 2}, COMMON, False),
        ("host-0", {"epochs": 1}, {"code": "abd"}, False),
        ("host-0", {"epochs": 1}, COMMON, True),
    ],
)
def test_other_choices_or_other_code_are_another_cell(
    tmp_path: Path, name: str, configuration: dict, common: dict, fresh: bool
) -> None:
    CellStore(tmp_path, COMMON).get("host-0", {"epochs": 1}, lambda: {"value": 1})
    cell = CellStore(tmp_path, common, fresh=fresh).get(name, configuration, lambda: {"value": 2})
    assert (cell.values, cell.resumed) == ({"value": 2}, False)


@pytest.mark.parametrize("damage", [b"", b'{"key": 1', b"[]", b'{"key": {}, "values": {}}'])
def test_a_damaged_cell_is_computed_again(tmp_path: Path, damage: bytes) -> None:
    store = CellStore(tmp_path, COMMON)
    store.get("host-0", {}, lambda: {"value": 1})
    store.path("host-0", {}).write_bytes(damage)
    assert store.get("host-0", {}, lambda: {"value": 2}).values == {"value": 2}
    assert store.get("host-0", {}, lambda: {"value": 3}).values == {"value": 2}


_SCRIPT = """
import os, signal, sys
from pathlib import Path
from benchmarks.cells import CellStore
store = CellStore(Path(sys.argv[1]), {})
for number in range(3):
    def compute():
        print(number, flush=True)
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return {"value": number}
    store.get(f"cell-{number}", {}, compute)
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, root: Path) -> None:
    def run(killed_in: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(tmp_path), str(killed_in)],
            env=os.environ | {"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    killed = run(1)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.split() == ["0", "1"]
    kept = list(tmp_path.iterdir())
    assert [json.loads(path.read_bytes())["values"] for path in kept] == [{"value": 0}]
    resumed = run(-1)
    assert (resumed.returncode, resumed.stdout.split()) == (0, ["1", "2"])


def test_a_failing_cell_leaves_nothing(tmp_path: Path) -> None:
    def compute():
        raise ArithmeticError

    store = CellStore(tmp_path / "cells", COMMON)
    with pytest.raises(ArithmeticError):
        store.get("host-0", {}, compute)
    with pytest.raises(ValueError, match="Out of range"):  # not a number is no JSON
        store.get("host-0", {}, lambda: {"value": float("nan")})
    assert not list(tmp_path.rglob("*.*"))
