"""The same forgeries by the command line: exit code 4, and nothing on standard output but results.

Also before the judge of a dispute: a forged claim is void, and the honest one beside it stands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modeldeed.cli import main
from modeldeed.deed import Deed, Opening
from modeldeed.deed.files import save_opening
from modeldeed.resolving import resolve
from modeldeed.resolving.words import Void
from modeldeed.results import Verdict
from tests.deed.forgeries.world import NONCE, Registered, World, resigned

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["modeldeed", *map(str, words)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return call


def handed_in(world: World, folder: Path, deed: Deed, opening: Opening) -> list[str | Path]:
    """Write a claim's files and return the judge's command line."""
    deed.save(folder / "x.deed")
    save_opening(folder / "opening.json", opening)
    (folder / "trust.json").write_bytes(world.trust.to_json())
    return [
        "verify", world.real.file, "--deed", folder / "x.deed", "--opening",
        folder / "opening.json", "--trust", folder / "trust.json", "--nonce", NONCE,
        "--reference", world.real.file,
    ]  # fmt: skip


def test_the_honest_claim_ends_with_0(world: World, tmp_path: Path, run: Run) -> None:
    assert run(*handed_in(world, tmp_path, world.real.deed, world.real.opening())) == 0
    assert run("deed", "check", tmp_path / "x.deed", "--trust", tmp_path / "trust.json") == 0


@pytest.mark.parametrize(
    "case", ["flipped", "version", "token", "opening", "nonce", "suspect", "identity", "gigabyte"]
)
def test_a_forged_claim_ends_with_4(
    world: World,
    other: Registered,
    tmp_path: Path,
    run: Run,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    deed, opening = world.real.deed, world.real.opening()
    if case == "token":
        deed = Deed.parse(deed.envelope.to_bytes(), other.deed.tokens)
    if case == "opening":
        opening = other.opening(suspect=world.real.suspect)
    if case == "nonce":
        opening = world.real.opening(nonce="00" * 16)
    if case == "suspect":
        opening = world.real.opening(suspect=other.suspect)
    if case == "identity":
        opening = resigned(opening, world.forger, identity=world.forger.identity.public_key.hex())
    words = handed_in(world, tmp_path, deed, opening)
    file = tmp_path / "x.deed" / "deed.json"
    data = file.read_bytes()
    if case == "flipped":
        file.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    if case == "version":
        text = world.forged(lambda s: s["predicate"].update(format="modeldeed-deed/v2"))
        file.write_bytes(text)
    if case == "gigabyte":
        with file.open("wb") as sparse:
            sparse.truncate(2**30)
    assert run(*words) == 4
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("evidence invalid: ")
    if case in ("flipped", "version", "token", "gigabyte"):
        check = ("deed", "check", tmp_path / "x.deed", "--trust", tmp_path / "trust.json")
        assert run(*check) == 4


FORGED: dict[str, Callable[[World, Registered, Path], object]] = {
    "flipped deed": lambda w, o, f: _flip(f / "deed.json"),
    "flipped opening": lambda w, o, f: _flip(f / "opening.json"),
    "another deed's tokens": lambda w, o, f: (
        Deed.parse(w.real.deed.envelope.to_bytes(), o.deed.tokens).save(f)
    ),
    "another deed's opening": lambda w, o, f: (
        save_opening(f / "opening.json", o.opening(suspect=w.real.suspect))
    ),
    "another model": lambda w, o, f: (
        (f / "reference.safetensors").write_bytes(o.file.read_bytes())
    ),
    "no reference": lambda w, o, f: (f / "reference.safetensors").unlink(),
}  # fmt: skip


def _flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])


def claim(folder: Path, registered: Registered, opening: Opening) -> Path:
    registered.deed.save(folder)
    save_opening(folder / "opening.json", opening)
    (folder / "reference.safetensors").write_bytes(registered.file.read_bytes())
    return folder


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_claim_is_void_before_the_judge(
    world: World, other: Registered, theirs: Registered, tmp_path: Path, name: str
) -> None:
    """The forged claim is invalid by itself; the other one is as it would be without it."""
    forged = claim(tmp_path / "forged", world.real, world.real.opening())
    FORGED[name](world, other, forged)
    beside = claim(tmp_path / "beside", theirs, theirs.opening(suspect=world.real.suspect))
    options = {"nonce": NONCE, "trust": world.trust}
    alone = resolve([beside], world.real.file, **options)
    found = resolve([forged, beside], world.real.file, **options)
    by_name = {each.name: each for each in found.claims}
    assert by_name["forged"].verdict is Verdict.EVIDENCE_INVALID
    assert by_name["forged"].void in (Void.FORGED, Void.ALTERED)
    assert by_name["beside"].verdict is alone.claims[0].verdict is not Verdict.VERIFIED
