"""A protected model behind an HTTP endpoint, verified from another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modeldeed import Passport, Verdict, query
from modeldeed.data import digits
from modeldeed.errors import SuspectError
from modeldeed.models import resnet_small
from modeldeed.querying.query import rejudge
from modeldeed.results import Report
from modeldeed.suspects.answering import Endpoint
from modeldeed.training import Recipe, train
from modeldeed.triggers.training import TriggerOptions, TriggerTraining
from tests.conftest import PASSPHRASE, secret_file_bytes
from tests.querying.answerers import OWNER

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def claim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a protected model's weights and its passport, saved after training."""
    folder = tmp_path_factory.mktemp("protected")
    data = digits()
    torch.manual_seed(5)
    model = resnet_small(10, 1)
    options = TriggerOptions(training=TriggerTraining(per_batch=8))
    passport = Passport.issue(
        model, OWNER, example=data.x_train[:2], classes=data.classes, triggers=options
    )
    for _ in train(model, data, Recipe(epochs=14, learning_rate=0.1), passport=passport):
        pass
    passport.save(folder / "passport")
    save_file(model.eval().state_dict(), folder / "model.safetensors")
    (folder / "owner.key").write_bytes(secret_file_bytes(bytes(range(32)), "Acme Vision"))
    (folder / "owner.key").chmod(0o600)
    (folder / "pass").write_text(PASSPHRASE + "\n")
    return folder


@pytest.fixture
def served(claim: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Return process and address of a server of that model."""
    port = tmp_path / "port"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.querying.protected_server",
            str(claim / "model.safetensors"),
            str(port),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while not port.exists():
        assert process.poll() is None, "the server did not start"
        assert time.monotonic() < deadline, "the server took too long to start"
        time.sleep(0.05)
    yield process, f"http://127.0.0.1:{port.read_text()}"
    process.kill()
    process.wait()


def fields(url: str) -> dict[str, object]:
    return {
        "format": "modeldeed-endpoint/v1",
        "url": url,
        "request": {"format": "json", "template": {"instances": "$inputs"}},
        "response": {"path": "labels", "kind": "labels"},
        "samples_per_request": 8,
        "retries": {"attempts": 8, "first_wait": 0.001, "longest_wait": 0.01},
    }


def test_behind_every_front_end_the_model_is_recognized(
    claim: Path, served: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    _, address = served
    queries = {}
    for path in ("clean", "rough", "recompressed", "resized"):
        endpoint = Endpoint.from_fields(fields(f"{address}/{path}"))
        report = query(
            endpoint, triggers=claim / "passport", owner=OWNER, transcripts=tmp_path / path
        )
        assert report.verdict is Verdict.VERIFIED, (path, report.reason)
        assert report.answers is not None
        queries[path] = report.answers.queries
    assert queries["clean"] <= 30
    assert queries["rough"] > queries["clean"]


def test_the_command_line_in_a_process_of_its_own(
    claim: Path, served: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    _, address = served
    (tmp_path / "endpoint.json").write_text(json.dumps(fields(f"{address}/clean")))
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from modeldeed.cli import main; main()"),
            *("query", "--suspect", "endpoint.json", "--triggers", str(claim / "passport")),
            *("--key", str(claim / "owner.key"), "--passphrase-file", str(claim / "pass")),
            "--json",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = Report.model_validate_json(done.stdout)
    assert report.verdict is Verdict.VERIFIED
    assert "127.0.0.1" in report.suspect


def test_a_server_that_dies_leaves_a_transcript_to_go_on_with(
    claim: Path, served: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    process, address = served
    endpoint = Endpoint.from_fields(fields(f"{address}/clean"))
    seen: list[int] = []

    def stop_after_the_first_group(done: int, _planned: int) -> None:
        seen.append(done)
        process.kill()
        process.wait()

    with pytest.raises(SuspectError, match=r"127\.0\.0\.1"):
        query(
            endpoint,
            triggers=claim / "passport",
            owner=OWNER,
            transcripts=tmp_path / "kept",
            progress=stop_after_the_first_group,
        )
    (path,) = (tmp_path / "kept").iterdir()
    report = rejudge([path], triggers=claim / "passport", owner=OWNER)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.answers is not None
    assert report.answers.queries == seen[0] > 0
