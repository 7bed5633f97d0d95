"""An anchor on disk: ``anchor.json``, the request ``anchor.tsq`` and the answer ``anchor.tsr``."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as serialize_tensors
from torch import Tensor

from modeldeed.anchor import Anchor
from modeldeed.anchoring.answers import answer_to
from modeldeed.anchoring.record import AnchorRecord
from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import MAX_BYTES
from modeldeed.storage import bounded_bytes, write_atomically
from modeldeed.timestamping import MAX_TOKEN_BYTES
from modeldeed.timestamping.query import Query
from modeldeed.timestamping.tokens import as_response

__all__ = ["FACTORS", "RECORD", "REQUEST", "RESPONSE", "load", "save"]

RECORD, REQUEST, RESPONSE, FACTORS = (
    "anchor.json",
    "anchor.tsq",
    "anchor.tsr",
    "factors.safetensors",
)
_MAX_FACTORS = 2**32

Loaded = tuple[AnchorRecord, dict[int, Tensor] | None, bytes | None, bytes | None]


def save(
    folder: Path,
    record: AnchorRecord,
    factors: dict[int, Tensor] | None,
    query: bytes | None,
    token: bytes | None,
) -> None:
    """Write an anchor; the record comes last, so that it never stands there in part."""
    folder.mkdir(parents=True, exist_ok=True)
    if factors is not None:
        state = {str(ordinal): factor.contiguous().cpu() for ordinal, factor in factors.items()}
        write_atomically(folder / FACTORS, serialize_tensors(state))
    if query is not None:
        write_atomically(folder / REQUEST, query)
    if token is not None:
        write_atomically(folder / RESPONSE, as_response(token))
    write_atomically(folder / RECORD, record.to_json())


def load(folder: Path) -> Loaded:
    """Read an anchor: record, factors, request and token.

    Raises:
        OptionError: the folder holds none.
        EvidenceError: a file is malformed, altered, or about another anchor.
    """
    if not (folder / RECORD).is_file():
        raise OptionError(
            f'{folder} is no folder of an anchor: it has no {RECORD}; make one with "modeldeed '
            'anchor"'
        )
    record = AnchorRecord.from_json(bounded_bytes(folder / RECORD, MAX_BYTES))
    record.require_authentic()
    query = _query(folder / REQUEST, record.anchor)
    return record, _factors(folder / FACTORS, record.anchor), query, _token(folder, record, query)


def _query(path: Path, anchor: Anchor) -> bytes | None:
    if anchor.authority is None:
        return None
    data = bounded_bytes(path, MAX_TOKEN_BYTES)
    asked = Query.from_der(data)
    if (asked.imprint.hex(), asked.policy) != (anchor.digest, anchor.authority.policy):
        raise EvidenceError(f"{path} asks about something else than the anchor beside it")
    return data


def _token(folder: Path, record: AnchorRecord, query: bytes | None) -> bytes | None:
    path = folder / RESPONSE
    if query is None or not path.exists():
        return None
    return answer_to(query, bounded_bytes(path, MAX_TOKEN_BYTES), record.anchor)


def _factors(path: Path, anchor: Anchor) -> dict[int, Tensor] | None:
    reading = None if anchor.passport is None else anchor.passport.reading
    if reading is None or isinstance(reading, str):
        return None
    try:
        named = load_tensors(bounded_bytes(path, _MAX_FACTORS))
    except SafetensorError as error:
        raise EvidenceError(f"{path} is no readable safetensors file: {error}") from error
    known = {str(ordinal): ordinal for ordinal in range(len(anchor.targets))}
    if not set(named) <= set(known):
        raise EvidenceError(f"{path} has factors of layers that are not in the anchor's list")
    if tensor_root(named).hex() != reading.factors:
        raise EvidenceError(f"{path} was altered: its factors are not those the anchor commits to")
    return {known[name]: factor for name, factor in named.items()}
