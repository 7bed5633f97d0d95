"""An audit that is killed at any moment goes on where it was; several processes do the same."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from modeldeed import Owner, Passport
from modeldeed.attacks import Prune, WeightNoise
from modeldeed.audit import Audit, audit
from modeldeed.audit.claims import ModelSeed
from modeldeed.data import load
from modeldeed.errors import EvidenceError, OptionError
from tests.attacks.conftest import DigitNet, seeded

pytest.importorskip("sklearn")

SCALES = tuple(n / 100 for n in range(1, 31))

SCRIPT = """
import sys
from pathlib import Path
from tests.audit.test_killed import whole
if __name__ == "__main__":
    whole(Path(sys.argv[1]), int(sys.argv[2]))
"""


def whole(folder: Path, processes: int = 1) -> Audit:
    """Thirty cells of some twenty milliseconds."""
    model, owner = seeded(DigitNet), Owner(bytes(range(32)), "Acme")
    data = load("digits").subset(64, 300)
    passport = Passport.issue(model, owner, example=data.x_train[:2])
    attacks = [WeightNoise(scale=scale) for scale in SCALES]
    return audit(
        model, data, passport=passport, owner=owner, attacks=attacks, folder=folder,
        wrong_keys=3, processes=processes,
    )  # fmt: skip


def start(folder: Path, processes: int) -> subprocess.Popen[bytes]:
    script = folder / "run.py"
    script.write_text(SCRIPT)
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), str(processes)], env=environment,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def cells(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.json")}


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_started_again(tmp_path: Path, processes: int) -> None:
    running = start(tmp_path, processes)
    try:
        deadline = time.monotonic() + 120
        while len(cells(tmp_path)) < 4 and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        running.kill()  # the one process: its workers must see it themselves
        running.wait()
    if processes == 2:
        time.sleep(1.0)  # a worker that is alone ends
    kept = cells(tmp_path)
    if processes == 2:
        time.sleep(0.3)
        assert cells(tmp_path) == kept
    assert len(kept) >= 4
    assert running.returncode == -signal.SIGKILL
    unfinished = Audit.load(tmp_path)
    assert unfinished.missing == 31 - len(kept)
    found = whole(tmp_path)
    assert len(found.cells) == 31
    assert Audit.load(tmp_path).missing == 0
    after = cells(tmp_path)
    assert {name: after[name] for name in kept} == kept  # nothing computed twice
    # What was kept is what an audit without any interruption finds.
    pairs = zip(found.cells, whole(tmp_path / "other").cells, strict=True)
    for one, other in pairs:
        assert (one.key, one.marks, one.accuracy_after) == (
            other.key, other.marks, other.accuracy_after)  # fmt: skip


def test_what_cannot_travel_is_refused_with_the_way_out() -> None:
    class Local(DigitNet):
        pass

    model, owner = seeded(Local), Owner(bytes(range(32)), "Acme")
    data = load("digits").subset(64, 50)
    passport = Passport.issue(model, owner, example=torch.zeros(2, 1, 8, 8))
    with pytest.raises(OptionError, match="processes=1"):
        audit(model, data, passport=passport, owner=owner, wrong_keys=0,
              attacks=[Prune(share=0.5), Prune(share=0.6)], processes=2)  # fmt: skip


def test_a_seed_is_pickled_for_a_process_being_started_and_never_else() -> None:
    owner = Owner(bytes(range(32)), "Acme")
    seed = ModelSeed.of(owner, "model")
    assert seed.seed("model") == owner.seed("model")
    assert owner.seed("model").hex() not in repr(seed)
    assert repr(owner.seed("model")) not in repr(seed)
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(seed)
    with pytest.raises(EvidenceError):
        seed.seed("another")
