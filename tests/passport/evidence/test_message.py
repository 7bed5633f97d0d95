"""A message in the bits: it survives flips, moves no null, and chance never shows one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modeldeed import Owner, Passport, verify
from modeldeed.anchor import MAX_MESSAGE_BYTES, Target
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.passport.evidence import files
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.message import (
    codewords_of,
    decode,
    encode,
    require_message,
)
from modeldeed.passport.evidence.message_reading import read_message
from modeldeed.passport.evidence.signature import claimed_bits, layer_secrets
from modeldeed.statistics import uniformity_p_value
from modeldeed.streams import KeyStream

KEY = bytes(range(32))
TEXT = "© Acme 2026"
DATA = TEXT.encode()


def host(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(20, 300), nn.BatchNorm1d(300), nn.ReLU(),
            nn.Linear(300, 600), nn.LayerNorm(600), nn.ReLU(),
            nn.Linear(600, 4),
        )  # fmt: skip


def issued(owner: Owner, message: str | None = TEXT, **options: Any) -> Passport:
    return Passport.issue(host(), owner, example=torch.rand(3, 20), message=message, **options)


def planted(passport: Passport) -> Passport:
    """Write the bits without training: every row becomes its signed passport."""
    bits = torch.split(passport.branch.signed_bits(), [t.channels for t in passport.branch.targets])
    with torch.no_grad():
        for target, secret, signed in zip(
            passport.branch.targets, passport.branch.secrets, bits, strict=True
        ):
            weight = passport.host.get_parameter(target.weight)
            shape = [1] * weight.dim()
            shape[target.axis] = -1
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
            weight.copy_(secret.passports[0] * signed.reshape(shape) + noise)
    return passport


def test_noise_shows_nothing(owner: Owner) -> None:
    manifest = issued(owner).manifest
    seed = owner.seed("model")
    tried: list[bytes] = []

    def accept(candidate: bytes) -> bool:
        tried.append(candidate)
        return manifest.anchor.commits_to(candidate, seed)

    for trial in range(60):
        noise = torch.randn(900, generator=torch.Generator().manual_seed(trial))
        assert decode(KEY, noise, len(DATA), accept) is None
    # The outer code accepts garbage again and again: without the commitment it would be shown.
    assert len(tried) > 20


def test_an_unmarked_model_shows_nothing(owner: Owner, tmp_path: Path) -> None:
    passport = issued(owner)
    passport.save(tmp_path)
    for suspect in (host(), host(1), nn.Sequential(*host(2))):
        found = read_message(suspect, passport=tmp_path, owner=owner)
        assert (found.message, found.committed, found.bits_flipped) == (None, False, None)
        assert "no message can be read" in found.reason


def test_another_key_shows_nothing(owner: Owner, stranger: Owner, tmp_path: Path) -> None:
    passport = planted(issued(owner))
    passport.save(tmp_path)
    found = read_message(passport.host, passport=tmp_path, owner=stranger)
    assert found.message is None
    assert found.reason == "the key is not this passport's"


# --- from end to end ---


def test_the_message_is_read_from_weights_and_key(owner: Owner, tmp_path: Path) -> None:
    passport = planted(issued(owner))
    passport.save(tmp_path)
    assert passport.signature().matches == 900
    found = read_message(passport.host.state_dict(), passport=tmp_path, owner=owner)
    assert (found.message, found.committed, found.verifies) == (TEXT, True, False)
    assert (found.symbols, found.symbols_corrected) == (18, 0)
    assert (found.bits, found.bits_flipped) == (900, 0)
    report = verify(passport.host, passport=tmp_path, owner=owner)
    assert (report.verdict.value, report.signature.matches) == ("verified", 900)
    assert report.anchor_digest == found.anchor_digest


def test_the_stored_message_is_not_looked_at(owner: Owner, monkeypatch: Any) -> None:
    """A manifest without its message still reads, were it not for the check of the two."""
    passport = planted(issued(owner))
    monkeypatch.setattr(Manifest, "model_key", lambda self, owner: passport._key)
    silent = passport.manifest.model_copy(update={"message": None})
    assert read_message(passport.host, passport=silent, owner=owner).message == TEXT


def test_a_message_survives_noise_that_flips_bits(owner: Owner, tmp_path: Path) -> None:
    passport = planted(issued(owner, message="Acme 26"))
    passport.save(tmp_path)
    with torch.no_grad():
        for target in passport.branch.targets:
            weight = passport.host.get_parameter(target.weight)
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
            weight.add_(noise, alpha=9.0 if target.fan == 20 else 30.0)
    signature = passport.signature()
    assert 0.6 < signature.matches / signature.bits < 0.8
    found = read_message(passport.host, passport=tmp_path, owner=owner)
    assert found.message == "Acme 26"
    assert found.bits_flipped == signature.bits - signature.matches


def test_channels_left_out_carry_nothing(owner: Owner) -> None:
    model = host()
    with torch.no_grad():
        model.get_submodule("1").weight[5:60] = 0
    passport = planted(Passport.issue(model, owner, example=torch.rand(3, 20), message=TEXT))
    targets = passport.manifest.anchor.targets
    assert (len(targets[0].left_out), sum(t.bits for t in targets)) == (55, 845)
    found = read_message(model, passport=passport.manifest, owner=owner)
    assert (found.message, found.bits, found.bits_flipped) == (TEXT, 845, 0)


def test_a_passport_without_a_message_says_so(owner: Owner, tmp_path: Path) -> None:
    passport = issued(owner, message=None)
    passport.save(tmp_path)
    assert passport.manifest.anchor.message is None
    found = read_message(passport.host, passport=tmp_path, owner=owner)
    assert (found.message, found.symbols) == (None, 0)
    assert "without a message" in found.reason


def test_saved_and_loaded_the_bits_are_the_same(owner: Owner, tmp_path: Path) -> None:
    passport = planted(issued(owner))
    passport.save(tmp_path)
    again = Passport.load(tmp_path, owner, passport.host)
    assert torch.equal(again.branch.signed_bits(), passport.branch.signed_bits())
    assert again.signature().matches == 900


# --- the null ---


def target(channels: int = 600) -> Target:
    return Target(
        norm="n", kind="layer", channels=channels, affine=None, weight="w",
        shape=(channels, 4), axis=0, side="rows",
    )  # fmt: skip


def test_bits_stay_uniform_whatever_the_message() -> None:
    """Over keys, every bit is fair and pairs are independent, for the most regular message too."""
    entry = target(720)
    bits = []
    for number in range(300):
        key = KeyStream(bytes(32), "uniform", number).read(32)
        (codeword,) = codewords_of(key, [entry], "A" * 14) or ()
        bits.append(claimed_bits(key, 0, entry, codeword))
    drawn = torch.stack(bits).double()
    counts = (drawn > 0).sum(0).double()
    assert float(((counts - 150) ** 2 / 75).sum()) < 720 + 5 * (2 * 720) ** 0.5
    pairs = (drawn[:, :-1] * drawn[:, 1:]).sum(0)
    assert float((pairs**2 / 300).sum()) < 719 + 5 * (2 * 719) ** 0.5


def test_wrong_keys_match_as_chance_has_it(owner: Owner) -> None:
    from modeldeed.statistics import randomized_p_values

    passport = planted(issued(owner))
    targets = passport.manifest.anchor.targets
    weights = [passport.host.get_parameter(t.weight).detach() for t in targets]
    matches = []
    for number in range(400):
        key = KeyStream(bytes(32), "wrong", number).read(32)
        codewords = codewords_of(key, targets, TEXT)
        assert codewords is not None
        total = 0
        for ordinal, (entry, weight) in enumerate(zip(targets, weights, strict=True)):
            secrets = layer_secrets(key, ordinal, entry, codeword=codewords[ordinal])
            total += int(((weight * secrets.passports[0]).sum(1) * secrets.bits > 0).sum())
        matches.append(total)
    assert uniformity_p_value(randomized_p_values(matches, 900, seed=1)) > 1e-3


def test_another_message_gives_other_bits_altogether(owner: Owner) -> None:
    """The same u twice would show the messages' difference: the key depends on the message."""
    one, other, none = (issued(owner, m) for m in ("Acme 2026", "Acme 2027", None))
    drawn = [p.branch.signed_bits() for p in (one, other, none)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 350 < int((drawn[a] == drawn[b]).sum()) < 550
    assert len({one._key, other._key, none._key}) == 3


# --- what is fixed, and what is refused ---


def test_the_anchor_shows_size_and_commitment_only(owner: Owner) -> None:
    passport = issued(owner)
    rule = passport.manifest.anchor.message
    assert rule is not None
    assert rule.size == 12
    assert TEXT.encode() not in passport.manifest.anchor.canonical()
    same = issued(owner, message="© Acme 2027").manifest.anchor.message
    assert same is not None
    assert same.commitment != rule.commitment


@pytest.mark.parametrize("message", ["© Acme 2027", "© Acme", None])
def test_a_message_that_does_not_open_the_anchor_is_invalid(
    owner: Owner, tmp_path: Path, message: str | None
) -> None:
    passport = planted(issued(owner))
    passport.save(tmp_path)
    manifest = files.load_manifest(tmp_path).model_copy(update={"message": message})
    (tmp_path / "passport.json").write_bytes(
        manifest.signed_by(owner, state=manifest.state).to_json()
    )
    for use in (
        lambda: verify(passport.host, passport=tmp_path, owner=owner),
        lambda: read_message(passport.host, passport=tmp_path, owner=owner),
        lambda: Passport.load(tmp_path, owner, passport.host),
    ):
        with pytest.raises(EvidenceError, match="not the one its anchor commits to"):
            use()


def test_a_message_added_to_a_passport_without_one_is_invalid(owner: Owner) -> None:
    passport = issued(owner, message=None)
    manifest = passport.manifest.model_copy(update={"message": TEXT})
    with pytest.raises(EvidenceError, match="not the one its anchor commits to"):
        manifest.model_key(owner)


def test_an_anchor_whose_bits_cannot_hold_its_message_is_invalid() -> None:
    for call in (
        lambda: encode(KEY, bytes(20), 720),
        lambda: decode(KEY, torch.ones(720), 20, lambda candidate: candidate == DATA),
    ):
        with pytest.raises(EvidenceError, match="20 bytes, which its 720 bits do not hold"):
            call()


REFUSED = {
    "": "at least one character",
    "line\nbreak": "without a print",
    "\x1b[1mverified": "without a print",
    "right to \u202e left": "without a print",
    "nul\x00": "without a print",
    "\ud800": "without a print",
    "e\u0301": "normal form C",
    "x" * 15: "15 bytes in UTF-8; the 720 .* at most 14, and at most 7",
    "€" * 5: "15 bytes",
    "y" * (MAX_MESSAGE_BYTES + 1): "161 bytes",
}


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_what_cannot_be_shown_or_held_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=REFUSED[text]):
        require_message(text, 720)


def test_what_is_no_text_is_refused_at_issue(owner: Owner) -> None:
    for message in (b"Acme", 7, ["a"]):
        with pytest.raises(OptionError, match="message is a text"):
            issued(owner, message=message)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="shorten it"):
        issued(owner, message="x" * 40)
