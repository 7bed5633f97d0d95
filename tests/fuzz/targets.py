"""What is fuzzed: every reader of bytes that come from somebody else.

A target takes any bytes. `ModelDeedError` is its answer to bad ones; every other exception, a
crash, or a time without end is a defect.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from modeldeed.anchoring.record import AnchorRecord
from modeldeed.deed import Countersignature, Deed, Opening
from modeldeed.deed.hashing import digest_model
from modeldeed.deed.statement import Statement
from modeldeed.errors import ModelDeedError
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.plugin.records import FusionManifest
from modeldeed.suspects import open_weights
from modeldeed.timestamping import check, token_of
from modeldeed.timestamping.query import Query
from modeldeed.timestamping.tokens import Token
from modeldeed.triggers.manifest import TriggerManifest
from modeldeed.trust import Trust

__all__ = ["CORPUS", "TARGETS", "Target", "seeds"]

CORPUS = Path(__file__).parent / "corpus"
Target = Callable[[bytes], None]


def seeds(name: str) -> list[bytes]:
    """The committed inputs of a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@cache
def _folder() -> Path:
    """A folder for readers that take paths; it lives as long as the process."""
    holder = tempfile.TemporaryDirectory(prefix="modeldeed-fuzz-")
    _KEPT.append(holder)
    return Path(holder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def _trust() -> Trust:
    return Trust.load(CORPUS / "trust" / "authority.json")


def envelope(data: bytes) -> None:
    """A deed's file."""
    deed = Deed.parse(data)
    assert deed.envelope.to_bytes() == data, "a second spelling of a deed"


def statement(data: bytes) -> None:
    """A payload, without the signature that keeps strangers from it."""
    Statement.parse(data)


def opening(data: bytes) -> None:
    """An opening, up to its signature."""
    Opening.from_json(data).require_authentic()


def countersignature(data: bytes) -> None:
    """A licence."""
    Countersignature.from_json(data).require_authentic()


def manifest(data: bytes) -> None:
    """Manifests of all marks, and the record of an anchor."""
    for kind in (Manifest, TriggerManifest, FusionManifest, AnchorRecord):
        with contextlib.suppress(ModelDeedError):
            kind.from_json(data).require_authentic()


def token(data: bytes) -> None:
    """A timestamp, as a token or as a response, and its verification under a pinned authority."""
    parts = Token.from_der(token_of(data))
    check(data, parts.info.imprint, _trust().trusted)


def request(data: bytes) -> None:
    """A request for a timestamp."""
    Query.from_der(data)


def trust(data: bytes) -> None:
    """A trust file: the judge's own, but perhaps handed on."""
    path = _folder() / "trust.json"
    path.write_bytes(data)
    Trust.load(path)


def safetensors(data: bytes) -> None:
    """A file of weights: its tensors, and its digests."""
    path = _folder() / "model.safetensors"
    path.write_bytes(data)
    weights = open_weights(path)
    for name in weights.names()[:8]:
        weights.shape(name)
        weights.tensor(name)
    weights.digest()
    digest_model(path, second="sha512")


def index(data: bytes) -> None:
    """An index beside one file of weights."""
    folder = _folder() / "sharded"
    folder.mkdir(exist_ok=True)
    shard = folder / "a.safetensors"
    if not shard.exists():
        shard.write_bytes((CORPUS / "safetensors" / "three.safetensors").read_bytes())
    path = folder / "model.safetensors.index.json"
    path.write_bytes(data)
    open_weights(path).digest()


_ALL: tuple[Target, ...] = (
    envelope, statement, opening, countersignature, manifest, token, request, trust, safetensors,
    index,
)  # fmt: skip


def _guarded(target: Target) -> Target:
    def guarded(data: bytes) -> None:
        with contextlib.suppress(ModelDeedError):
            target(data)

    return guarded


TARGETS: dict[str, Target] = {target.__name__: _guarded(target) for target in _ALL}
"""Targets by name; bad input is no failure."""
