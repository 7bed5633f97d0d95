"""Pictures are what their scripts draw, and words accuse nobody."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.docs.pages import DOCS, PAGES, name_of, prose


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = runpy.run_path(str(DOCS / "draw_idea.py"))["draw"]()
    assert drawn == (DOCS / "idea.svg").read_text(encoding="utf-8")
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"


CONCEPTS: dict[str, Any] = runpy.run_path(str(DOCS / "draw_concepts.py"))
SHAPES: dict[str, Any] = runpy.run_path(str(DOCS / "figure_shapes.py"))


@pytest.mark.parametrize("name", CONCEPTS["FIGURES"])
def test_a_figure_is_what_its_script_draws(name: str) -> None:
    drawn = CONCEPTS["FIGURES"][name]()
    stored = (DOCS / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    assert drawn == stored, "run: python docs/draw_concepts.py"
    assert f"](figures/{name}.svg)" in (DOCS / "concepts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CONCEPTS["FIGURES"])
def test_a_figure_can_stand_beside_others_in_one_page(name: str) -> None:
    """Its ids are its own, it can be read aloud, it loads nothing, its colors are the palette's."""
    text = (DOCS / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    root = ET.fromstring(text)
    ids = [each.attrib["id"] for each in root.iter() if "id" in each.attrib]
    assert all(each.startswith(f"{name}-") for each in ids)
    assert len(set(ids)) == len(ids)
    spoken = root.find(f"*[@id='{root.attrib['aria-labelledby']}']")
    assert spoken is not None
    assert len(spoken.text or "") > 80
    assert re.findall(r"(?:href|src|url)\W+https?:", text) == []
    used = set(re.findall(r'class="([^"]*)"', text)) - {"deed-figure"}
    known = {f"{kind}-{color}" for kind in "fs" for color in SHAPES["LIGHT"]}
    assert {word for words in used for word in words.split()} <= known


def test_the_palettes_of_figures_are_those_of_the_site() -> None:
    css = (DOCS / "stylesheets" / "site.css").read_text(encoding="utf-8")
    for scheme, palette in (("default", SHAPES["LIGHT"]), ("slate", SHAPES["DARK"])):
        block = css.partition(f'[data-md-color-scheme="{scheme}"] .deed-figure {{')[2]
        found = dict(re.findall(r"--deed-([\w-]+): (#\w+);", block.partition("}")[0]))
        assert found == palette


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_documentation_accuses_nobody(page: Path) -> None:
    assert re.findall(r"(?i)\b(pirat\w*|thie\w*|theft|stolen|steal\w*)\b", prose(page)) == []
