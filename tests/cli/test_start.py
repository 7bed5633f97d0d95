"""What the command line loads before it knows what is wanted."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from modeldeed.cli import app
from modeldeed.cli.commands import COMMANDS, load

HEAVY = ("torch", "scipy", "numpy", "matplotlib", "onnxruntime")


def start(*arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, output, and which heavy packages a call has loaded at its end."""
    script = (
        "import sys\n"
        "from modeldeed.cli import main\n"
        f"sys.argv = ['modeldeed', *{list(arguments)!r}]\n"
        "try:\n    main()\n"
        "finally:\n"
        f"    print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr.split()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--version"], "0."),
        (["--help"], "normalization"),
        (["keygen", "--help"], "passphrase"),
    ],
)
def test_help_waits_for_nothing_heavy(arguments: list[str], shown: str) -> None:
    code, out, loaded = start(*arguments)
    assert code == 0
    assert shown in out
    assert loaded == []


def test_a_command_that_is_called_is_loaded() -> None:
    code, out, loaded = start("plan", "--help")
    assert code == 0
    assert "--input-shape" in out
    assert "torch" in loaded


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    listed = typer.main.get_group(app).commands
    assert set(listed) == set(COMMANDS)
    for name, stand_in in listed.items():
        found = load(name)
        assert found.name == name
        assert stand_in.help == stand_in.get_short_help_str(300), name
        assert stand_in.help == found.get_short_help_str(300), name


def test_a_mistyped_command_is_answered_with_the_one_meant() -> None:
    code, _, said = start("verfy")
    assert code == 2
    assert "Did you mean 'verify'" in " ".join(said)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modeldeed", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0.")
