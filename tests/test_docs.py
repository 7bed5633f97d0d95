"""The documentation: its examples run, its links lead somewhere, and its tables say what is so."""

from __future__ import annotations

import ast
import math
import os
import re
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import typer

import modeldeed
from modeldeed import TrainingRule, TriggerTraining, errors, secretfile
from modeldeed.anchor import Anchor, PassportRule, Target
from modeldeed.anchor.plugin_rule import BackgroundRule, PluginRule
from modeldeed.anchor.trigger_rule import (
    AudioInput,
    ImageInput,
    PointInput,
    TokenInput,
    TriggerRule,
)
from modeldeed.anchoring.record import AnchorRecord
from modeldeed.cli import app
from modeldeed.cli.exit_codes import ExitCode, code_of, code_of_verdict
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.private_check import DEFAULT_DECOYS
from modeldeed.passport.evidence.reading import MIN_BITS, UNPAID_LOG2_P
from modeldeed.passport.passport import DEFAULT_HEAD
from modeldeed.passport.private.heads import HEADS
from modeldeed.plugin.detector import DetectorConfig
from modeldeed.plugin.records import FusionManifest, PluginRecord
from modeldeed.results import (
    AnswerEvidence,
    BranchEvidence,
    Report,
    SignatureEvidence,
    Support,
    Verdict,
)
from modeldeed.statistics import Budget, information_limit, required_matches, stopping
from modeldeed.suspects.answering import Answered, TranscriptHeader
from modeldeed.timestamping import Authority
from modeldeed.triggers.manifest import TriggerManifest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    + list(DOCS.glob("*.md"))
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run -->"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its fenced code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def number(text: str) -> int:
    return int(text.replace(",", ""))


def rows(text: str) -> list[list[str]]:
    """The body cells of all tables of a text."""
    found, body = [], False
    for line in text.splitlines():
        if not line.startswith("|"):
            body = False
        elif set(line) <= set("|-: "):
            body = True
        elif body:
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def between(text: str, begin: str, end: str) -> str:
    assert (text.count(begin), text.count(end)) == (1, 1)
    return text[text.index(begin) + len(begin) : text.index(end)]


# Examples


def python_fences(page: Path) -> list[tuple[int, str, bool]]:
    """First line, code, and whether it is to be run, of every Python example of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        (
            text[: match.start(2)].count("\n"),
            match[2],
            not text[: match.start()].rstrip().endswith(NOT_RUN),
        )
        for match in FENCE.finditer(text)
        if match[1] == "python"
    ]


def as_script(page: Path) -> str:
    """The examples of a page one after the other, on the lines where they stand in it."""
    lines = [""] * (page.read_text(encoding="utf-8").count("\n") + 1)
    for start, code, wanted in python_fences(page):
        if wanted:
            lines[start : start + code.count("\n")] = code.splitlines()
    return "\n".join(lines) + "\n"


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


WITH_EXAMPLES = [page for page in PAGES if as_script(page).strip()]


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


# Links


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("https://"):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if fragment:
            assert fragment in anchors(target), link


def test_every_page_is_on_the_map() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)", read("docs/index.md")))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


# Names


def test_every_public_name_is_on_the_map() -> None:
    listed = set(re.findall(r"`modeldeed\.(\w+)`", read("docs/index.md")))
    assert listed == set(modeldeed.__all__) | {"data", "models", "training"}


def test_every_error_is_documented_with_its_base_and_exit_code() -> None:
    table = {
        cells[0].strip("`"): cells[1:3]
        for cells in rows(between(read("docs/errors.md"), "## Exceptions", "## Exit codes"))
    }
    assert set(table) == set(errors.__all__)
    for name, (base, code) in table.items():
        cls: type[Exception] = getattr(errors, name)
        assert code_of(cls.__new__(cls)) == int(code), name
        assert base.strip("`") in {parent.__name__ for parent in cls.__mro__[1:]} | {""}, name


def test_every_exit_code_is_documented_wherever_they_are_listed() -> None:
    expected = {str(code.value): code.name for code in ExitCode}
    for text in (
        read("docs/cli.md").partition("## Exit codes")[2],
        between(read("docs/errors.md"), "## Exit codes", "## Warnings"),
    ):
        assert {cells[0]: cells[1].strip("`") for cells in rows(text)} == expected
    table = rows(between(read("README.md"), "On the command line:", "All commands and options"))
    assert [cells[0] for cells in table] == list(expected)


def commands(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """Every command with the long options that it takes itself."""
    options = {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }
    found = {path: options}
    for name, child in getattr(command, "commands", {}).items():
        found.update(commands(child, (*path, name)))
    return found


def test_every_option_is_documented_at_its_command() -> None:
    parts = re.split(r"^## ", read("docs/cli.md"), flags=re.MULTILINE)
    sections = {}
    for part in parts[1:]:
        heading = part.partition("\n")[0].strip("`")
        if heading.startswith("modeldeed "):
            sections[tuple(word for word in heading.split()[1:] if word.islower())] = part
    found = commands(typer.main.get_command(app))
    groups = {path for path, options in found.items() if not options}
    assert set(sections) == set(found) - groups - {()}
    for path, options in found.items():
        text = sections[path] if path in sections else parts[0]
        assert {option for option in options if f"`{option}" not in text} == set(), path
    for path, text in sections.items():
        named = {cells[0].split("`")[1] for cells in rows(text)}
        assert named <= found[path], path


# Figures and fields


def test_the_figures_of_required_matches_are_computed() -> None:
    table = rows(
        between(read("docs/soundness.md"), "<!-- required:Budget -->", "<!-- /required -->")
    )
    assert len(table) >= 5
    for bits, *needed in table:
        for budget, matches in zip((Budget(), Budget(grinding_log2=20)), needed, strict=True):
            assert required_matches(number(bits), budget) == number(matches), bits
    quoted = re.findall(r"of (\d[\d,]+) bits (\d[\d,]*\d)", " ".join(read("README.md").split()))
    assert [number(bits) for bits, _ in quoted] == [672, 1_152, 4_800]
    for bits, matches in [*quoted, ("720", "533")]:
        assert required_matches(number(bits), Budget()) == number(matches)


def test_the_figures_of_the_black_box_test_are_computed() -> None:
    text = between(read("docs/black-box.md"), "<!-- power:BLACK_BOX -->", "<!-- /power -->")
    *power, limits = rows(text)
    assert len(power) >= 5
    classes = (2, 10, 100, 1000)
    for rate, *cells in power:
        for k, cell in zip(classes, cells, strict=True):
            found = stopping(k, 1 / k if rate == "unrelated" else float(rate))
            share = found.not_verified if "*not*" in cell else found.verified
            quoted = cell.replace(" *not*", "")
            assert quoted == f"{share:.0%} in {found.expected_queries:.0f}", (rate, k)
    assert limits[1:] == [str(math.ceil(information_limit(k))) for k in classes]


def test_the_thresholds_in_words_are_those_of_the_code() -> None:
    budget = Budget()
    assert (budget.threshold_log2, budget.alpha_log2, budget.grinding_log2) == (-128, 64, 64)
    assert Budget(grinding_log2=20).threshold_log2 == -84
    assert (MIN_BITS, UNPAID_LOG2_P, DEFAULT_DECOYS) == (128, -20, 999)
    text = read("docs/verifying.md")
    for quoted in ("p ≤ 2⁻¹²⁸", "p > 2⁻²⁰", "at least 128 bits", "With 999 decoys"):
        assert quoted in text


def test_the_training_rules_defaults_are_those_of_the_code() -> None:
    for page, rule in (("training", TrainingRule()), ("black-box", TriggerTraining())):
        text = read(f"docs/{page}.md")
        mark = f"<!-- defaults:{type(rule).__name__} -->"
        table = rows(between(text, mark, "<!-- /defaults -->"))
        quoted = {name.strip("`"): ast.literal_eval(value.strip("`")) for name, value, _ in table}
        assert quoted == {field.name: getattr(rule, field.name) for field in fields(rule)}


def test_every_head_and_schedule_is_described() -> None:
    text = read("docs/training.md")
    schedules = rows(between(text, "### Schedules", "### Which number"))
    heads = rows(between(text, "## Heads", "## Losses"))
    # Whatever a schedule is called, the rule takes it, and no other.
    assert [TrainingRule(schedule=ast.literal_eval(cells[0].strip("`"))) for cells in schedules]
    assert len(schedules) == 4
    assert {cells[0].strip('`"') for cells in heads} == set(HEADS)
    (default,) = (cells[0].strip('`"') for cells in heads if cells[1].startswith("the default"))
    assert default == DEFAULT_HEAD
    assert all(f"**`{name}`**" in read("docs/evidence-format.md") for name in HEADS)


def test_every_verdict_word_and_field_of_a_report_is_explained() -> None:
    text = read("docs/verifying.md")
    verdicts = rows(between(text, "### The verdicts", "### If a suspect"))
    assert {cells[0].strip("`"): int(cells[-1]) for cells in verdicts} == {
        verdict.value: code_of_verdict(verdict).value for verdict in Verdict
    }
    words = rows(between(text, "## Level 2", "## The report"))
    assert {cells[0].strip("`") for cells in words} == {word.value for word in Support}
    report = between(text, "## The report", "## Checking")
    for field in set(Report.model_fields) - {"answers"}:
        assert f"`{field}`" in report or f'"{field}"' in report, field
    for field in set(AnswerEvidence.model_fields) - {"level"}:
        assert f"`answers.{field}`" in report or f"`.{field}`" in report, field
    for field in set(SignatureEvidence.model_fields) - {"level", "reading"}:
        assert f"`signature.{field}`" in report or f"`.{field}`" in report, field
    assert set(BranchEvidence.model_fields) > {"word", "reason"}


def test_every_field_of_the_evidence_is_in_the_format() -> None:
    text = read("docs/evidence-format.md")
    models = (Anchor, Target, PassportRule, Manifest, secretfile._File, TriggerRule)
    models += (ImageInput, PointInput, AudioInput, TokenInput, TriggerManifest)
    models += (TranscriptHeader, Answered, AnchorRecord, Authority)
    models += (PluginRule, BackgroundRule, PluginRecord, FusionManifest, DetectorConfig)
    for model in models:
        for name, field in model.model_fields.items():
            assert f"`{name}`" in text, f"{model.__name__}.{name}"
            if name in ("format", "kdf", "cipher", "reading", "statistics", "prior"):
                assert f'"{field.default}"' in text, f"{model.__name__}.{name}"


# The picture, and the words


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = runpy.run_path(str(DOCS / "draw_idea.py"))["draw"]()
    assert drawn == (DOCS / "idea.svg").read_text(encoding="utf-8")
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_documentation_accuses_nobody(page: Path) -> None:
    assert re.findall(r"(?i)\b(pirat\w*|thie\w*|theft|stolen|steal\w*)\b", prose(page)) == []
