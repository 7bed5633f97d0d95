"""Version 1 of the format, as files that every later version has to read."""

from __future__ import annotations

import json

import pytest

from modeldeed import Deed, Verdict, verify
from modeldeed.deed.files import load_opening
from modeldeed.deed.recomputing import shown_marks
from modeldeed.trust import Trust
from tests.deed.make_golden import FOLDER, NONCE, OWNER


@pytest.fixture(scope="module")
def deed() -> Deed:
    return Deed.load(FOLDER / "model.deed")


def test_the_golden_deed_is_read_as_it_was_written(deed: Deed) -> None:
    expected = json.loads((FOLDER / "expected.json").read_text())
    assert deed.digest == expected["imprint"]
    assert deed.statement.tensor_root == expected["tensor_root"]
    assert [mark.kind for mark in deed.marks] == ["passport", "triggers"]


def test_the_golden_deed_is_dated(deed: Deed) -> None:
    trust = Trust.load(FOLDER / "trust.json")
    check = deed.check(trust=trust, model=FOLDER / "model.safetensors")
    assert check.valid, check.problems
    assert check.dated.word == "dated"
    assert check.dated.earliest is not None
    assert check.dated.earliest.isoformat() == "2026-05-01T11:59:59+00:00"
    assert (check.owner, check.model) == ("Acme Vision", "its files")


def test_the_golden_openings_open_it(deed: Deed) -> None:
    for name in ("opening.json", "batch-opening.json"):
        assert shown_marks(deed, load_opening(FOLDER / name), nonce=NONCE)
    report = verify(
        FOLDER / "model.safetensors",
        deed=FOLDER / "model.deed",
        opening=FOLDER / "opening.json",
        trust=Trust.load(FOLDER / "trust.json"),
        nonce=NONCE,
        reference=FOLDER / "model.safetensors",
    )
    assert report.verdict is Verdict.VERIFIED
    assert report.require_signature().matches == 144


def test_the_same_deed_is_made_again(deed: Deed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte: nothing in it is drawn by chance."""
    monkeypatch.setattr("modeldeed.deed.making.__version__", deed.statement.predicate.library)
    again = Deed.create(
        FOLDER / "model.safetensors",
        owner=OWNER,
        marks=[FOLDER / "passport"],
        second_digest="sha512",
    )
    assert again.envelope.to_bytes() == deed.envelope.to_bytes()
    opening = load_opening(FOLDER / "opening.json")
    assert again.open(OWNER, opening.suspect, NONCE) == opening
