import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# The benchmarks are no part of the installed package; a bare ``pytest`` has not the root in reach.
ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Runs set torch's process-wide switches, and must never touch the checkout's cards."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("MODELDEED_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("MODELDEED_DATA", raising=False)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture
def root() -> Path:
    return ROOT
