import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def _benchmarks(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=root,
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_list_names_every_experiment_with_its_settings(root: Path) -> None:
    done = _benchmarks(root, "list", "--json")
    assert done.returncode == 0, done.stderr
    listed = {entry["name"]: entry for entry in json.loads(done.stdout)}
    fidelity = listed["fidelity"]
    assert fidelity["description"]
    assert list(fidelity["settings"]) == ["quick", "standard", "full"]
    assert "digits-resnet_small-batch" in fidelity["settings"]["quick"]["hosts"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nothing"], "no experiment 'nothing'; there are: ablations"),
        (["run", "fidelity", "--only", "vgg"], "--only vgg fits no host"),
    ],
)
def test_wrong_choices_exit_2_and_say_what_there_is(
    root: Path, arguments: list[str], told: str
) -> None:
    done = _benchmarks(root, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
