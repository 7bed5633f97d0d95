"""The documentation site: built with warnings as errors, and loading nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, OF_THE_ROOT, ROOT

pytestmark = pytest.mark.slow
# What a browser fetches by itself when it shows a page.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Page(HTMLParser):
    """What a page loads, and the text of its paragraphs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.paragraphs: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(values.get("href", ""))
        elif tag in LOADED:
            self.loaded.append(values.get(LOADED[tag], ""))
        if tag == "p":
            self.paragraphs.append("")
        self._inside = tag == "p" or (self._inside and tag in ("a", "em", "strong", "code"))

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "p"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.paragraphs[-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return target


def pages(site: Path) -> dict[str, str]:
    found = {
        page.relative_to(site).as_posix(): page.read_text("utf-8") for page in site.rglob("*.html")
    }
    assert len(found) > 40
    return found


def test_every_page_is_built(site: Path) -> None:
    wanted = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
    assert wanted | {name.replace(".md", ".html") for name in OF_THE_ROOT} <= set(pages(site))
    assert not list(site.rglob("*.py"))


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    seen = 0
    for name, text in pages(site).items():
        for address in Page(text).loaded:
            assert not re.match(r"(?i)(https?:)?//", address), f"{name} loads {address}"
            seen += 1
        inline = " ".join(re.findall(r"<style.*?</style>", text, re.DOTALL))
        assert "http" not in inline, name
        assert "googleapis" not in text, name
        assert "gstatic" not in text, name
    assert seen > 100
    for sheet in site.rglob("*.css"):
        text = sheet.read_text("utf-8")
        assert re.findall(r"(?i)(?:@import|url\()\W*(?:https?:)?//", text) == [], sheet.name
    # The theme fetches a library for diagrams only where a page has one, and versions, stars and
    # the like of a repository only where one is named.
    for name, text in pages(site).items():
        assert 'class="mermaid"' not in text, name
        assert 'data-md-component="source"' not in text, name


def test_lists_and_tables_are_set_as_such(site: Path) -> None:
    """Markdown of the site is stricter than GitHub's: what it does not know stays in paragraphs."""
    for name, text in pages(site).items():
        for paragraph in Page(text).paragraphs:
            assert not re.search(r"(?m)^\s*(?:[-*] |\d+\. |\|.*\|$)", paragraph), (name, paragraph)
            assert "](" not in paragraph, (name, paragraph)
            assert "**" not in paragraph.replace("2**", ""), (name, paragraph)


def test_figures_stand_in_the_page(site: Path) -> None:
    text = pages(site)["concepts.html"]
    assert text.count('<figure class="deed">') == len(re.findall(r"<figure", text)) >= 6
    assert text.count('class="deed-figure"') >= 6


def test_the_python_reference_shows_signatures_and_examples(site: Path) -> None:
    text = pages(site)["api/modeldeed.html"]
    for name in ("Passport.issue", "Owner.generate", "verify", "Deed.create"):
        assert f'id="modeldeed.{name}"' in text, name
    assert "Raises:" in text
    assert "Examples:" in text
    assert 'id="modeldeed.Passport._' not in text


def test_the_search_knows_every_page(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {name for name in pages(site) if name != "404.html"} <= found
