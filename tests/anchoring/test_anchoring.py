"""Two steps, offline: a folder with a request goes out, an answer comes in, then comes the mark."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from modeldeed import Passport, TrainingRule, TriggerOptions, TriggerTraining, Verdict, verify
from modeldeed.anchor.tokens import signed_time_of
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.anchoring.files import FACTORS, RECORD, REQUEST, RESPONSE
from modeldeed.anchoring.weights import EXHIBIT
from modeldeed.errors import EvidenceError, ModelDeedError, OptionError
from modeldeed.owner import Owner
from modeldeed.timestamping import Authority, UntrustedAuthority, request, token_of
from tests.anchoring.conftest import AT, EXAMPLE, anchored, host
from tests.timestamping.authorities import LocalAuthority, openssl


def waiting(owner: Owner, authority: LocalAuthority, **options: Any) -> Anchoring:
    return Passport.anchor(host(), owner, example=EXAMPLE, authority=authority.trusted, **options)


def small() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


IMAGES = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))

# --- the way of an honest owner ---


def test_request_and_answer_travel_as_files(
    owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    """By openssl alone in between: any authority's own tools will do."""
    model = host(7)
    folder, trusted = tmp_path / "anchor", [one.trusted]
    Passport.anchor(model, owner, example=EXAMPLE, authority=one.trusted).save(folder, model)
    assert {path.name for path in folder.iterdir()} == {RECORD, REQUEST, EXHIBIT}

    asked = openssl("ts", "-query", "-in", folder / REQUEST, "-text")
    assert "Hash Algorithm: sha256" in asked
    (tmp_path / "answer.tsr").write_bytes(one.stamp((folder / REQUEST).read_bytes()))

    loaded = Anchoring.load(folder)
    assert not loaded.ready
    with pytest.raises(EvidenceError, match="not anchored yet"):
        Passport.issue(model, owner, example=EXAMPLE, anchor=loaded)
    stamp = loaded.accept((tmp_path / "answer.tsr").read_bytes(), trusted)
    assert stamp is not None
    assert stamp.imprint.hex() == loaded.anchor.digest
    loaded.save(folder)
    verified = openssl(
        "ts", "-verify", "-queryfile", folder / REQUEST, "-in", folder / RESPONSE,
        "-CAfile", one.folder / "root.pem",
    )  # fmt: skip
    assert "Verification: OK" in verified

    fresh = host(8)
    fresh.load_state_dict(load_file(folder / EXHIBIT))
    passport = Passport.issue(fresh, owner, example=EXAMPLE, anchor=Anchoring.load(folder))
    assert passport.manifest.anchor == loaded.anchor
    passport.save(tmp_path / "passport")
    report = verify(fresh, passport=tmp_path / "passport", owner=owner, trust=trusted)
    assert report.anchored
    assert report.anchor_time is not None
    assert report.anchor_time.earliest == stamp.earliest
    assert report.anchor_time.latest == stamp.latest
    assert report.verdict is Verdict.NOT_VERIFIED  # nothing was trained yet


def test_a_loaded_passport_has_the_same_key(
    owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    passport = Passport.issue(host(), owner, example=EXAMPLE, anchor=anchored(owner, one, host()))
    passport.save(tmp_path)
    again = Passport.load(tmp_path, owner, host())
    assert again.manifest.token == passport.manifest.token
    assert again.manifest.model_key(owner) == passport.manifest.model_key(owner)


def test_everything_an_anchor_fixes_comes_back(
    owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    model, options = small(), TriggerOptions(batches=3)
    fixed = Passport.anchor(
        model,
        owner,
        example=IMAGES,
        authority=one.trusted,
        label="digits",
        exclude="1",
        classes=("a", "b", "c", "d"),
        head="keyed-everywhere",
        reading="coloured",
        triggers=options,
    )
    fixed.accept(one.stamp(fixed.request(), AT))
    fixed.save(tmp_path)
    assert (tmp_path / FACTORS).exists()
    mine = TriggerTraining(per_batch=3)
    passport = Passport.issue(
        model,
        owner,
        example=IMAGES,
        anchor=Anchoring.load(tmp_path),
        training=TrainingRule(interval=2),
        triggers=TriggerOptions(training=mine),
    )
    anchor = passport.manifest.anchor
    assert anchor == fixed.anchor
    assert (anchor.excluded, anchor.classes) == (("1",), ("a", "b", "c", "d"))
    assert anchor.passport_rule.head == "keyed-everywhere"
    assert anchor.passport_rule.reading_name == "coloured/v1"
    assert passport.manifest.label == "digits"
    assert passport.triggers is not None
    assert (passport.triggers.rule.batches, passport.triggers.training) == (3, mine)
    assert passport.training.interval == 2


def test_a_message_comes_back(owner: Owner, one: LocalAuthority, tmp_path: Path) -> None:
    fixed = waiting(owner, one, message="© Acme")
    fixed.accept(one.stamp(fixed.request(), AT))
    fixed.save(tmp_path)
    passport = Passport.issue(host(), owner, example=EXAMPLE, anchor=Anchoring.load(tmp_path))
    assert passport.manifest.message == "© Acme"


def test_an_anchor_without_authority_issues_at_once(owner: Owner) -> None:
    fixed = Passport.anchor(host(), owner, example=EXAMPLE, authority=None)
    assert fixed.ready
    with pytest.raises(OptionError, match="names no authority"):
        fixed.request()
    issued = Passport.issue(host(), owner, example=EXAMPLE, anchor=fixed).manifest
    assert issued == Passport.issue(host(), owner, example=EXAMPLE).manifest


# --- answers that are none ---


def test_an_answer_to_another_request_is_refused(owner: Owner, one: LocalAuthority) -> None:
    fixed = waiting(owner, one)
    other = request(bytes.fromhex(fixed.anchor.digest), policy=one.policy)
    with pytest.raises(EvidenceError, match="nonce differs"):
        fixed.accept(one.stamp(other, AT))
    with pytest.raises(EvidenceError, match="not over this anchor"):
        fixed.accept(one.stamp(request(bytes(32), policy=one.policy), AT))
    assert not fixed.ready


def test_an_answer_of_another_authority_is_refused(
    owner: Owner, one: LocalAuthority, two: LocalAuthority
) -> None:
    fixed = waiting(owner, one)
    answer = two.stamp(fixed.request(), AT)
    with pytest.raises(EvidenceError, match="policy"):
        fixed.accept(answer)
    named = Authority(name="One", policy=two.policy, root=one.trusted.authority.root)
    pretended = Passport.anchor(host(), owner, example=EXAMPLE, authority=named)
    for trusted in ([two.trusted], [one.trusted], two.trusted, []):
        with pytest.raises(UntrustedAuthority):
            pretended.accept(two.stamp(pretended.request(), AT), trusted)
    assert not pretended.ready


def test_garbage_and_refusals_are_no_answers(owner: Owner, one: LocalAuthority) -> None:
    fixed = waiting(owner, one)
    for answer in (b"", b"hello", bytes.fromhex("30053003020102"), bytes(70_000)):
        with pytest.raises(EvidenceError):
            fixed.accept(answer)


def test_a_second_token_is_refused_and_the_same_one_is_not(
    owner: Owner, one: LocalAuthority
) -> None:
    fixed = waiting(owner, one)
    first = one.stamp(fixed.request(), AT)
    fixed.accept(first)
    fixed.accept(token_of(first), one.trusted)
    with pytest.raises(OptionError, match="has its token already"):
        fixed.accept(one.stamp(fixed.request(), AT + timedelta(days=1)))


# --- models and options that do not fit ---


def test_other_weights_are_refused(owner: Owner, one: LocalAuthority) -> None:
    fixed = anchored(owner, one, host())
    changed = host()
    with torch.no_grad():
        changed[0].bias[5] += 1e-6
    with pytest.raises(OptionError, match="other weights"):
        Passport.issue(changed, owner, example=EXAMPLE, anchor=fixed)
    with pytest.raises(OptionError, match="another architecture"):
        Passport.issue(small(), owner, example=IMAGES, anchor=fixed)
    Passport.issue(host(), owner, example=EXAMPLE, anchor=fixed)


def test_an_example_that_plans_otherwise_is_refused(owner: Owner, one: LocalAuthority) -> None:
    class Choosing(nn.Module):
        """Runs its second norm for large inputs only."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.norm1 = nn.Linear(16, 32), nn.LayerNorm(32)
            self.two, self.norm2 = nn.Linear(32, 32), nn.LayerNorm(32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made = self.norm1(self.one(x))
            return self.norm2(self.two(made)) if len(x) > 2 else made

    torch.manual_seed(0)
    model = Choosing()
    fixed = Passport.anchor(model, owner, example=torch.rand(4, 16), authority=one.trusted)
    fixed.accept(one.stamp(fixed.request(), AT))
    with pytest.raises(OptionError, match="the plan for this model"):
        Passport.issue(model, owner, example=torch.rand(2, 16), anchor=fixed)


@pytest.mark.parametrize(
    "option",
    [
        {"head": "learned"},
        {"label": "other"},
        {"exclude": "1"},
        {"targets": "1"},
        {"classes": ("a", "b")},
        {"rows": "shared"},
        {"message": "late"},
        {"reading": "coloured"},
        {"probes": EXAMPLE},
        {"triggers": True},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_is_fixed_is_not_chosen_again(
    owner: Owner, one: LocalAuthority, option: dict[str, Any]
) -> None:
    fixed = anchored(owner, one, host())
    with pytest.raises(OptionError, match=f"{next(iter(option))}=.*anchor"):
        Passport.issue(host(), owner, example=EXAMPLE, anchor=fixed, **option)


def test_another_owner_cannot_issue(owner: Owner, stranger: Owner, one: LocalAuthority) -> None:
    with pytest.raises(EvidenceError, match="another owner"):
        Passport.issue(host(), stranger, example=EXAMPLE, anchor=anchored(owner, one, host()))


# --- files ---


@pytest.mark.parametrize("name", [RECORD, REQUEST, RESPONSE])
def test_no_changed_byte_changes_what_is_anchored(
    owner: Owner, one: LocalAuthority, tmp_path: Path, name: str
) -> None:
    fixed = anchored(owner, one, host())
    fixed.save(tmp_path)
    data = (tmp_path / name).read_bytes()
    own = fixed.anchor.model_key(owner.seed("model"), _signed(fixed))
    for place in range(0, len(data), max(1, len(data) // 60)):
        (tmp_path / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            found = Anchoring.load(tmp_path)
        except ModelDeedError:
            continue
        assert found.anchor == fixed.anchor
        if found.token is not None:
            assert found.anchor.model_key(owner.seed("model"), _signed(found)) == own
    (tmp_path / name).write_bytes(data[:-2])
    with pytest.raises(EvidenceError):
        Anchoring.load(tmp_path)


def _signed(anchoring: Anchoring) -> bytes:
    return signed_time_of(anchoring.token or b"", anchoring.anchor)


def test_a_folder_without_an_anchor_says_so(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="modeldeed anchor"):
        Anchoring.load(tmp_path)


def test_the_record_holds_no_secret(owner: Owner, one: LocalAuthority, tmp_path: Path) -> None:
    waiting(owner, one).save(tmp_path)
    text = (tmp_path / RECORD).read_text("utf-8")
    assert owner.seed("model").hex() not in text
    fields = json.loads(text)
    assert set(fields) == {"signature", "format", "anchor", "label", "message"}


def test_an_exhibit_of_other_weights_is_not_kept(
    owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="other weights"):
        waiting(owner, one).save(tmp_path, host(5))
    assert not list(tmp_path.iterdir())
