"""A resolution as JSON, text, page and signed record: whole, printable, and the same in all."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError
from rich.console import Console

from modeldeed.errors import EvidenceError
from modeldeed.reporting.resolution_page import resolution_page, write_resolution_page
from modeldeed.reporting.resolution_tables import resolution_table
from modeldeed.resolving import Exhibit, Resolution, resolve
from modeldeed.resolving.results import STEPS, StepStatus
from modeldeed.resolving.sentences import headline
from modeldeed.resolving.signed_record import read_signed, sign_resolution
from modeldeed.results import Verdict
from tests.resolving.conftest import World
from tests.resolving.world import NONCE, days, owner, saved

EVIL = "<script>x</script>"


@pytest.fixture(scope="module")
def found(world: World, tmp_path_factory: pytest.TempPathFactory) -> Resolution:
    """Three claims, one void and one with a name that would like to be markup."""
    folder = tmp_path_factory.mktemp("reports")
    suspect = saved(world.beta.state, folder / "suspect.safetensors")
    claims = [
        world.acme.hand_in(folder, suspect),
        world.beta.hand_in(folder, suspect, name="[bold]beta"),
        world.other.hand_in(folder, suspect, name=EVIL.replace("/", "")),
    ]
    (claims[2] / "opening.json").unlink()
    names = {world.acme.owner.identity.public_key.hex(): "Acme Vision"}
    trust = world.trust.model_copy(update={"owners": names})
    shown = Exhibit(saved(world.bare, folder / "bare.safetensors"), days(-9).date())
    return resolve(
        claims, suspect, trust=trust, nonce=NONCE, exhibits=[shown], suspect_date=days(50)
    )


def text(found: Resolution, width: int = 200) -> str:
    out = StringIO()
    Console(file=out, width=width, color_system=None).print(resolution_table(found))
    return out.getvalue()


def test_json_reads_back_and_fits_its_schema(found: Resolution) -> None:
    written = found.model_dump_json()
    assert Resolution.model_validate_json(written) == found
    jsonschema.validate(json.loads(written), Resolution.model_json_schema(mode="serialization"))
    with pytest.raises(ValidationError):
        Resolution.model_validate_json(written.replace('"nonce"', '"nonsense"'))


def test_every_p_stands_before_and_after_payment(found: Resolution) -> None:
    readings = [r for cell in found.matrix for r in cell.readings if r.verdict is not None]
    assert readings
    for reading in readings:
        assert reading.log2_p is not None
        assert reading.log2_p_paid is not None
        paid = min(0.0, reading.log2_p + reading.grinding_log2)
        assert reading.log2_p_paid == pytest.approx(paid, abs=1e-6)


def test_the_text_says_what_the_json_says(found: Resolution) -> None:
    shown = text(found)
    assert shown.startswith(
        "acme upstream of [bold]beta\nVerified: the marks of [bold]beta and acme"
    )
    assert "owner: Acme Vision" in shown
    for claim in found.claims:
        assert f"{claim.name}: {claim.verdict.value}: " in shown
    for number, title in enumerate(STEPS, 1):
        assert re.search(rf"^ ?{number}  {title}$", shown, re.MULTILINE), title
    for relation in found.relations:
        assert relation.words in shown
    assert "192 of 192 bits; by luck 1 in 10^57" in shown
    for line in text(found, width=80).splitlines():
        assert len(line) <= 80


class _Page(HTMLParser):
    VOID = ("meta", "br", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(found: Resolution, tmp_path: Path) -> None:
    write_resolution_page(found, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed = _Page()
    parsed.feed(page)
    assert parsed.open == []
    assert "script" not in parsed.seen
    assert parsed.seen.count("h1") == 1
    assert not re.search(r"https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    for claim in found.claims:
        assert claim.name in parsed.text
    for relation in found.relations:
        assert relation.words.lower() in parsed.text.lower()
    for title in STEPS:
        assert title.lower() in parsed.text.lower()
    assert re.search(r"1.in.10<sup>57</sup>", page)


def test_a_page_without_any_valid_claim(world: World, tmp_path: Path) -> None:
    suspect = saved(world.acme.state, tmp_path / "suspect.safetensors")
    (tmp_path / "empty").mkdir()
    found = resolve([tmp_path / "empty"], suspect, nonce=NONCE)
    assert found.outcome is Verdict.EVIDENCE_INVALID
    assert headline(found) == "evidence invalid"
    parsed = _Page()
    parsed.feed(resolution_page(found))
    assert "Whose mark is where" not in parsed.text
    assert "deed.json is missing" in text(found)


def test_nobody_is_accused(found: Resolution) -> None:
    for said in (found.model_dump_json(), text(found), resolution_page(found)):
        assert not re.search(r"(?i)pirat|thie[fv]|stole|steal|theft", said)


def test_a_signed_record_is_verified_before_it_is_parsed(found: Resolution) -> None:
    judge = owner(77)
    made, record = sign_resolution(found, judge)
    assert made.steps[-1].status is StepStatus.DONE
    assert len(made.steps) == len(found.steps)
    for known in (judge.identity, None):
        read = read_signed(record, known)
        assert (read.resolution, read.judge) == (made, judge.identity.public_key.hex())
    with pytest.raises(EvidenceError, match="another judge"):
        read_signed(record, owner(78).identity)


def test_any_changed_byte_of_a_signed_record_is_seen(found: Resolution) -> None:
    _, record = sign_resolution(found, owner(77))
    form = json.loads(record)
    payload = base64.b64decode(form["payload"]).replace(b'"verified"', b'"not verified"', 1)
    form["payload"] = base64.b64encode(payload).decode()
    forged = json.dumps(form, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(EvidenceError, match="was altered"):
        read_signed(forged)
    for place in range(0, len(record), len(record) // 97):
        for bit in (1, 32):
            changed = bytearray(record)
            changed[place] ^= bit
            with pytest.raises(EvidenceError):
                read_signed(bytes(changed))
    for other in (b"", b"[]", b"{}", record + b"\n", record[:-1]):
        with pytest.raises(EvidenceError):
            read_signed(other)
