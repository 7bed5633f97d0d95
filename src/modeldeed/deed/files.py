"""A deed on disk: ``deed.json`` and ``timestamps/N.tsr``; nothing secret is in its folder.

Renewals of the timestamps lie in ``timestamps/renewal-R/N.tsr``, R the round from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modeldeed.deed.envelope import MAX_ENVELOPE_BYTES
from modeldeed.deed.opening import Opening
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import MAX_BYTES
from modeldeed.storage import bounded_bytes, write_atomically
from modeldeed.timestamping import MAX_TOKEN_BYTES

__all__ = ["DEED", "OPENING", "TIMESTAMPS", "load", "load_opening", "save", "save_opening"]

DEED, TIMESTAMPS, OPENING = "deed.json", "timestamps", "opening.json"
_MAX_TOKENS = 64


def save(folder: Path, envelope: bytes, rounds: Sequence[Sequence[bytes]]) -> None:
    """Write a deed and its timestamps; each file whole or not at all.

    Args:
        folder: made when missing.
        envelope: the deed.
        rounds: its timestamps, then their renewals round by round.

    Raises:
        OptionError: the folder holds another deed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / DEED
    if path.exists() and path.read_bytes() != envelope:
        raise OptionError(f"{folder} holds another deed; save this one to a folder of its own")
    write_atomically(path, envelope)
    for number, tokens in enumerate(rounds):
        place = _place(folder, number)
        if tokens:
            place.mkdir(parents=True, exist_ok=True)
        for count, token in enumerate(tokens, 1):
            write_atomically(place / f"{count}.tsr", token)


def _place(folder: Path, number: int) -> Path:
    """Where the tokens of a round lie."""
    return folder / TIMESTAMPS / f"renewal-{number}" if number else folder / TIMESTAMPS


def load(path: Path) -> tuple[bytes, tuple[bytes, ...], tuple[tuple[bytes, ...], ...]]:
    """The envelope's bytes, the tokens and their renewals, nothing of them looked at.

    Args:
        path: the folder, or ``deed.json`` itself.

    Raises:
        OptionError: there is no deed.
        EvidenceError: a file is too large or cannot be read, or there are too many timestamps.
    """
    file = path / DEED if path.is_dir() else path
    if not file.exists():
        raise OptionError(f"{path} is no deed: there is no {file}; see modeldeed deed create")
    envelope = bounded_bytes(file, MAX_ENVELOPE_BYTES)
    rounds: list[tuple[bytes, ...]] = [_tokens(_place(file.parent, 0))]
    while len(rounds) <= _MAX_TOKENS and (found := _tokens(_place(file.parent, len(rounds)))):
        rounds.append(found)
    return envelope, rounds[0], tuple(rounds[1:])


def _tokens(place: Path) -> tuple[bytes, ...]:
    """The tokens of a folder in the order of their numbers."""
    paths = sorted(place.glob("*.tsr"), key=lambda path: (len(path.name), path.name))
    if len(paths) > _MAX_TOKENS:
        raise EvidenceError(f"{place} has {len(paths)} timestamps; {_MAX_TOKENS} are the most")
    return tuple(bounded_bytes(path, MAX_TOKEN_BYTES) for path in paths)


def save_opening(path: Path, opening: Opening) -> None:
    """Write an opening, readable by its owner only: it is for one judge."""
    write_atomically(path, opening.to_json(), secret=True)


def load_opening(path: Path) -> Opening:
    """Read an opening; what it is for is not checked yet.

    Args:
        path: the file, or a folder with ``opening.json``.

    Raises:
        OptionError: there is none.
        EvidenceError: it is too large or malformed.
    """
    file = path / OPENING if path.is_dir() else path
    if not file.exists():
        raise OptionError(
            f"there is no opening {file}; its owner makes one, see modeldeed deed open"
        )
    return Opening.from_json(bounded_bytes(file, MAX_BYTES))
