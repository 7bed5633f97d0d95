"""The pages of the documentation, and their parts."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
OUTSIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")
# What these are called on the site, which has them beside the pages of docs/.
OF_THE_ROOT = {"changelog.md", "contributing.md", "security.md", "examples.md"}
PAGES = sorted([ROOT / name for name in OUTSIDE] + list(DOCS.rglob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run -->"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


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


WITH_EXAMPLES = [page for page in PAGES if as_script(page).strip()]
