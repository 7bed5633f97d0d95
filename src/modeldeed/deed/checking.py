"""Checking a deed without secrets: what everybody can see for himself, and what nobody can."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modeldeed._version import __version__
from modeldeed.deed.budgets import MarkBudget
from modeldeed.deed.commitments import KINDS
from modeldeed.deed.dates import Times, TimestampCheck, anchor_times, deed_times, renewal_problem
from modeldeed.deed.hashing import digest_model, second_algorithm
from modeldeed.deed.statement import FileDigests, Statement
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import EvidenceModel
from modeldeed.timestamping import order

if TYPE_CHECKING:
    from modeldeed.deed.deed import Deed
    from modeldeed.trust import Trust

__all__ = ["DatedBy", "DeedCheck", "MarkCheck", "ModelWord", "check_deed", "model_word"]

ModelWord = Literal["its files", "its tensors", "another model", "not given"]


class DatedBy(EvidenceModel):
    """The effective date of the deed.

    Attributes:
        word: ``"dated"``, ``"dated, single authority"`` or ``"undated"``.
        earliest: begin of the effective interval, UTC; None when undated.
        latest: its end.
        authorities: names of those that count.
    """

    word: Literal["undated", "dated, single authority", "dated"] = "undated"
    earliest: datetime | None = None
    latest: datetime | None = None
    authorities: tuple[str, ...] = ()


class MarkCheck(EvidenceModel):
    """What the deed says of one mark, as far as it can be seen without an opening.

    Attributes:
        kind: of the mark.
        anchor: digest of its anchor.
        anchored: whether it has a timestamp token, be it trusted or not.
        budget: what evidence must pay by the deed.
        batches: how many are committed to.
        known: whether this version of the package can examine such a mark.
    """

    kind: str
    anchor: str
    anchored: bool
    budget: MarkBudget
    batches: int
    known: bool


class DeedCheck(EvidenceModel):
    """What a deed is worth before anything is opened.

    Attributes:
        valid: whether nothing contradicts it; it may be undated nevertheless.
        deed: its digest, hexadecimal.
        identity: fingerprint of the owner's key.
        owner: the owner's name in the trust file; None for an unknown identity.
        dated: the effective date.
        timestamps: token by token.
        marks: mark by mark.
        model: what of the given model is the deed's.
        checked: what was checked, in sentences.
        not_checked: what was not, and why.
        problems: what contradicts the deed; empty if it is valid.
        version: of the package.
    """

    valid: bool
    deed: str
    identity: str
    owner: str | None
    dated: DatedBy
    timestamps: tuple[TimestampCheck, ...]
    marks: tuple[MarkCheck, ...]
    model: ModelWord
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]
    problems: tuple[str, ...]
    version: str

    def require_valid(self) -> None:
        """Refuse a deed that something contradicts.

        Raises:
            EvidenceError: names what.
        """
        if self.problems:
            raise EvidenceError("; ".join(self.problems))


class _Findings:
    """Sentences as they come."""

    def __init__(self) -> None:
        self.checked: list[str] = []
        self.left: list[str] = []
        self.problems: list[str] = []


def check_deed(deed: Deed, *, trust: Trust | None, model: str | Path | None) -> DeedCheck:
    """Check a deed; see `Deed.check`."""
    found = _Findings()
    found.checked.append("signature, strict form, one spelling, and the identity it names")
    found.left.append("the commitments: they are opened to a judge only")
    found.left.append("whether the model carries the marks: modeldeed verify --deed --opening")
    times = deed_times(deed, trust)
    anchors = [anchor_times(mark, trust) for mark in deed.marks]
    _check_times(deed, times, anchors, trust, found)
    name = _check_identity(deed, times, trust, found)
    word = _check_model(deed.statement, model, found)
    _check_origins(deed, found)
    for mark in deed.marks:
        if mark.kind not in KINDS:
            found.left.append(f"the mark {mark.kind!r}, which this version does not know")
    return DeedCheck(
        valid=not found.problems,
        deed=deed.digest,
        identity=deed.identity.fingerprint,
        owner=name,
        dated=_dated(times),
        timestamps=tuple(look for each in (times, *anchors) for look in each.looks),
        marks=tuple(_mark(deed, place) for place in range(len(deed.marks))),
        model=word,
        checked=tuple(found.checked),
        not_checked=tuple(found.left),
        problems=tuple(found.problems),
        version=__version__,
    )


def _check_times(
    deed: Deed, times: Times, anchors: list[Times], trust: Trust | None, found: _Findings
) -> None:
    if trust is None:
        found.left.append("timestamps: no trust file says which authorities count")
        return
    found.checked.append("timestamps, at their own time, against the trusted authorities")
    for look in (look for each in (times, *anchors) for look in each.looks):
        if look.word == "invalid":
            found.problems.append(f"a timestamp of the {look.what} does not verify: {look.reason}")
        elif look.word == "not counted":
            found.left.append(f"a timestamp of the {look.what} does not count: {look.reason}")
    renewed = renewal_problem(deed, trust)
    if renewed:
        found.problems.append(renewed)
    for mark, each in zip(deed.marks, anchors, strict=True):
        if order(each.dating, times.dating) == "after":
            found.problems.append(
                f"the anchor of the mark {mark.kind!r} is dated after the deed that names it"
            )


def _check_identity(deed: Deed, times: Times, trust: Trust | None, found: _Findings) -> str | None:
    if trust is None:
        found.left.append("whose identity this is: no trust file names owners")
        return None
    revocation = trust.revocation(deed.identity, times.dating)
    if revocation is not None:
        found.problems.append(revocation.problem("the deed"))
    name = trust.owner_name(deed.identity)
    if name is None:
        found.left.append("whose identity this is: the trust file does not know it")
    return name


def _check_model(statement: Statement, model: str | Path | None, found: _Findings) -> ModelWord:
    if model is None:
        found.left.append("the model's digests: the model was not given")
        return "not given"
    word = model_word(statement, model)
    if word == "another model":
        found.problems.append("the model given is another one: neither files nor tensors fit")
    else:
        found.checked.append(f"the model given: {word} are the deed's")
        if second_algorithm() != "blake3" and any(d.blake3 for d in statement.files.values()):
            found.left.append(
                "the files' BLAKE3 digests: the package blake3 is not installed; SHA-256 and the "
                "tensors were compared"
            )
    return word


def model_word(statement: Statement, model: str | Path) -> ModelWord:
    """What of a model is a deed's, whatever its files are called.

    Raises:
        SuspectError: the model cannot be read.
    """
    wanted = statement.files
    second = "sha512" if any(digests.sha512 for digests in wanted.values()) else None
    digests = digest_model(model, second=second)
    if digests.tensor_root != statement.tensor_root:
        return "another model"
    pairs = (list(digests.files.values()), list(wanted.values()))
    ours, theirs = (sorted(pair, key=lambda each: each.sha256) for pair in pairs)
    same = len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return "its files" if same else "its tensors"


def _same(a: FileDigests, b: FileDigests) -> bool:
    """Whether two files' digests agree in all algorithms that both have."""
    return a.sha256 == b.sha256 and all(
        None in pair or pair[0] == pair[1] for pair in ((a.blake3, b.blake3), (a.sha512, b.sha512))
    )


def _check_origins(deed: Deed, found: _Findings) -> None:
    for origin in deed.statement.predicate.derived_from:
        if origin.countersignature is None:
            found.left.append(
                f"that it may be derived from {origin.tensor_root[:16]}…: nobody countersigned"
            )
            continue
        try:
            origin.countersignature.require_covers(deed.identity, deed.statement.tensor_root)
            if origin.deed not in (None, origin.countersignature.upstream):
                raise EvidenceError("the countersignature is of another upstream deed")
            signer = origin.countersignature.owner_identity()
            found.checked.append(f"the countersignature of {signer.fingerprint[:16]}")
        except EvidenceError as error:
            found.problems.append(f"an origin's countersignature does not hold: {error}")


def _dated(times: Times) -> DatedBy:
    dating = times.dating
    return DatedBy(
        word=dating.word,
        earliest=dating.earliest,
        latest=dating.latest,
        authorities=dating.authorities,
    )


def _mark(deed: Deed, place: int) -> MarkCheck:
    mark = deed.marks[place]
    return MarkCheck(
        kind=mark.kind,
        anchor=mark.anchor,
        anchored=mark.token is not None,
        budget=mark.budget,
        batches=len(mark.batches),
        known=mark.kind in KINDS,
    )
