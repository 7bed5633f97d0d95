"""Models that nobody accuses: exhibits of the parties, public bases, and null models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

from torch import nn

from modeldeed.errors import EvidenceError, OptionError, SuspectError
from modeldeed.resolving.examinee import Examinee, Kind
from modeldeed.resolving.results import Dated, OtherModel
from modeldeed.timestamping import Dating, Stamp, UntrustedAuthority, check, effective
from modeldeed.trust import Trust

__all__ = ["Exhibit", "others_of", "stated"]

_KINDS = {"exhibit": 0, "base": 1, "null": 2}


@dataclass(frozen=True)
class Exhibit:
    """A model that a party shows against a claim.

    Args:
        model: a safetensors file, a checkpoint, an ONNX file, a module or a function.
        date: when it existed, as the judge found it proven: a moment with its time zone, or a
            day, which is meant in UTC. None where tokens say it.
        tokens: RFC 3161 tokens over the SHA-256 of its file.
        name: what it is called; None takes the file's name.
    """

    model: Any
    date: datetime | date | None = None
    tokens: Sequence[bytes] = ()
    name: str | None = None


def stated(moment: datetime | date | None) -> Dating:
    """The interval of a date that the judge states; a day lasts from midnight to midnight, UTC.

    Raises:
        OptionError: a moment without a time zone.

    Example:
        >>> stated(date(2024, 5, 1)).latest.isoformat()
        '2024-05-02T00:00:00+00:00'
    """
    if moment is None:
        return Dating()
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise OptionError(f"{moment.isoformat()} has no time zone; append Z for UTC")
        begin = moment.astimezone(timezone.utc)
        return Dating(begin, begin, (), "dated")
    begin = datetime.combine(moment, time(), timezone.utc)
    return Dating(begin, begin + timedelta(days=1), (), "dated")


def others_of(
    exhibits: Iterable[Any],
    nulls: Iterable[Any],
    trust: Trust,
    models: tuple[nn.Module, ...],
) -> tuple[tuple[Examinee, OtherModel], ...]:
    """All other models with their digests and dates, sorted by what they are and by digest.

    Args:
        exhibits: `Exhibit`, or models without a date.
        nulls: models.
        trust: its authorities date exhibits; its public bases are looked at in any case.
        models: architectures that the judge can build.

    Raises:
        OptionError: one cannot be read, or its date is malformed.
        EvidenceError: a token of an exhibit does not verify, or is of no trusted authority.
    """
    found = []
    for given in exhibits:
        exhibit = given if isinstance(given, Exhibit) else Exhibit(given)
        found.append(_other("exhibit", exhibit, trust, models))
    for base in trust.public_bases:
        exhibit = Exhibit(Path(base.path), base.since, name=base.name)
        found.append(_other("base", exhibit, trust, models))
    found += [_other("null", Exhibit(null), trust, models) for null in nulls]
    found.sort(key=lambda pair: (_KINDS[pair[1].kind], pair[1].digest, pair[1].name))
    return _named_apart(found)


def _other(
    kind: Kind, exhibit: Exhibit, trust: Trust, models: tuple[nn.Module, ...]
) -> tuple[Examinee, OtherModel]:
    model = Examinee("", kind, exhibit.model, models)
    try:
        digest = model.digest
        name = _printable(exhibit.name or model.label)
    except SuspectError as error:
        raise OptionError(f"the {kind} cannot be read: {error}") from error
    dating = stated(exhibit.date)
    if exhibit.tokens:
        dating = _dated(exhibit.tokens, bytes.fromhex(digest), trust, name)
    shown = Dated.of(dating, stated=not exhibit.tokens)
    found = Examinee(name, kind, exhibit.model, models, dating)
    return found, OtherModel(name=name, kind=_narrow(kind), digest=digest, dated=shown)


def _narrow(kind: Kind) -> Any:
    return kind


def _dated(tokens: Sequence[bytes], imprint: bytes, trust: Trust, name: str) -> Dating:
    stamps: list[Stamp] = []
    for token in tokens:
        try:
            stamps.append(check(token, imprint, trust.trusted))
        except UntrustedAuthority as error:
            raise OptionError(f"exhibit {name}: no trusted authority dated it: {error}") from error
        except EvidenceError as error:
            raise OptionError(f"exhibit {name}: its timestamp does not verify: {error}") from error
    return effective(stamps)


def _named_apart(
    found: list[tuple[Examinee, OtherModel]],
) -> tuple[tuple[Examinee, OtherModel], ...]:
    """Give models of one name different ones; which is which follows from their digests."""
    names = [other.name for _, other in found]
    made = []
    for model, other in found:
        name = other.name
        if names.count(name) > 1:
            name = f"{name} ({other.kind} {other.digest[:8]})"
        renamed = Examinee(name, model.kind, model.source, model.models, model.dating)
        made.append((renamed, other.model_copy(update={"name": name})))
    return tuple(made)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:60])
