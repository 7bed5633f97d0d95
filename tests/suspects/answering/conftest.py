"""Fixtures: a model server in another process, and endpoints of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldeed.suspects.answering import Endpoint

ROOT = Path(__file__).resolve().parents[3]

KSERVE: dict[str, Any] = {
    "request": {"format": "kserve-v2", "input": "x"},
    "response": {"path": "outputs.0.data", "kind": "probabilities"},
}


def started(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server; return its process and address."""
    port_file = folder / "port"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.suspects.answering.server", str(port_file)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while not port_file.exists():
        assert process.poll() is None, "the server did not start"
        assert time.monotonic() < deadline, "the server took too long to start"
        time.sleep(0.05)
    return process, f"http://127.0.0.1:{port_file.read_text()}"


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running server."""
    process, address = started(tmp_path_factory.mktemp("server"))
    yield address
    ended(process)


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Return process and address of a server of the test's own."""
    process, address = started(tmp_path)
    yield process, address
    ended(process)


def endpoint(url: str, **fields: Any) -> Endpoint:
    """An endpoint that is asked impatiently."""
    patience = {"attempts": 6, "first_wait": 0.001, "longest_wait": 0.01}
    return Endpoint.from_fields({"url": url, **KSERVE, "retries": patience, **fields})
