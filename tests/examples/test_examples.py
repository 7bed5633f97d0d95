"""Every example, run as its page says, ends well and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PYTHON = [sys.executable]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]

CASES: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "train_from_scratch": (PYTHON, ("the owner: verified", "somebody else: not verified")),
    "mark_a_trained_transformer": (PYTHON, ("the saved checkpoint: verified",)),
    "train_on_several_devices": (TORCHRUN, ("2 processes", ": verified,")),
    "settle_a_dispute": (
        PYTHON,
        ("acme: verified", "beta: verified", "the mark of acme is in the reference of beta"),
    ),
    "ask_an_api": (PYTHON, ("the owner: verified after", "another: not verified after")),
}


def environment() -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if name != "MODELDEED_DATA"}
    return given | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_an_example_ends_well(name: str, tmp_path: Path) -> None:
    command, promised = CASES[name]
    done = subprocess.run(
        [*command, str(EXAMPLES / f"{name}.py"), str(tmp_path / "out")],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment(), timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for words in promised:
        assert words in done.stdout


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "look_at_the_evidence.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept"
    nbclient.NotebookClient(notebook, timeout=600).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    said = "".join(out.get("text", "") for out in outputs)
    assert said.count("verified") == 2
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 3


def test_every_example_is_on_the_page_and_is_run() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert there == {f"{name}.py" for name in CASES} | {"look_at_the_evidence.ipynb"}
    assert all(f"examples/{name}" in page for name in there)
