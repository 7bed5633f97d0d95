"""The examples of the documentation run, and yield what it says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import PAGES, README, WITH_EXAMPLES, as_script, python_fences, read


def run_script(script: Path, *arguments: str) -> str:
    """Run a program in its own folder, warnings being errors; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=script.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_readme_example_yields_what_the_readme_says(tmp_path: Path) -> None:
    fences = python_fences(README)
    statements = [line for line in fences[0][1].splitlines() if line and "import" not in line]
    assert all(wanted for *_, wanted in fences)
    assert len(statements) <= 12
    script = tmp_path / "readme.py"
    script.write_text(
        as_script(README) + "\nassert report.verdict.value == 'verified'\nassert report.deed\n",
        encoding="utf-8",
    )
    printed = run_script(script)
    found = re.fullmatch(r"verified - (\d+) of 720 bits match, 533 are needed\n", printed)
    assert found, printed
    assert 533 <= int(found[1]) <= 720
    assert (tmp_path / "model.safetensors").exists()
    assert "of the 720 signature bits match, and that 533 are" in " ".join(
        read("README.md").split()
    )


def test_the_examples_of_every_other_page_run(tmp_path: Path) -> None:
    """In one process, which imports torch once; a failure names the page and the line."""
    pages = [page for page in WITH_EXAMPLES if page != README]
    assert len({page.stem for page in pages}) == len(pages)
    for page in pages:
        (tmp_path / f"{page.stem}.md.py").write_text(as_script(page), encoding="utf-8")
    runner = tmp_path / "runner.py"
    runner.write_text(
        "import os, runpy, sys\n"
        "for name in sys.argv[1:]:\n"
        "    os.makedirs(name)\n"
        "    os.chdir(name)\n"
        "    runpy.run_path(f'../{name}.md.py')\n"
        "    os.chdir('..')\n"
        "    print('ran', name)\n",
        encoding="utf-8",
    )
    printed = run_script(runner, *(page.stem for page in pages))
    assert re.findall(r"^ran (.*)$", printed, re.MULTILINE) == [page.stem for page in pages]


def test_examples_are_found_and_all_of_them_parse() -> None:
    assert {page.stem for page in WITH_EXAMPLES} >= {
        "README", "start", "training", "verifying", "soundness", "threat-model",
        "evidence-format", "extending", "errors",
    }  # fmt: skip
    left_out = 0
    for page in PAGES:
        for _, code, wanted in python_fences(page):
            ast.parse(code)
            left_out += not wanted
    assert left_out <= 1
