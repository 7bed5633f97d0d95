"""The page of attacks says what the registry says."""

from __future__ import annotations

import re
from pathlib import Path

from modeldeed import attacks
from modeldeed.attacks.listing import markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"


def test_the_table_is_that_of_the_registry() -> None:
    """To write it anew: put `modeldeed.attacks.listing.markdown()` between the marks."""
    text = PAGE.read_text("utf-8")
    found = re.search(r"<!-- attacks -->\n(.*)<!-- /attacks -->", text, re.DOTALL)
    assert found
    assert found[1].strip() == markdown().strip()


def test_every_attack_that_the_text_names_exists() -> None:
    text = PAGE.read_text("utf-8").partition("## What to know of some")[2]
    named = set(re.findall(r"^- `([a-z-]+)`", text, re.MULTILINE))
    assert named <= set(attacks.names())
    assert len(named) >= 8
