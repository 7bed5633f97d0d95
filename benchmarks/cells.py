"""Resumable cells: a long experiment keeps what it has, cell by cell.

A cell is one unit of work, such as a host under a seed. Its result is one JSON file that is named
by a digest of everything it depends on, so a run that is started again with the same choices
reads it, and one with others never does. Each file is written whole or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from modeldeed.digests import sha256
from modeldeed.storage import write_atomically

__all__ = ["Cell", "CellStore", "Values"]

Values = dict[str, JsonValue]


@dataclass(frozen=True)
class Cell:
    """A computed cell.

    Attributes:
        values: what it measured, JSON.
        seconds: the wall time it took when it was computed.
        resumed: whether an earlier run computed it.
    """

    values: Values
    seconds: float
    resumed: bool


class CellStore:
    """The cells of one experiment.

    Args:
        folder: where their files stand; made when the first cell is done.
        common: what all cells depend on: code, versions, hardware.
        fresh: compute every cell anew.
    """

    def __init__(
        self, folder: Path, common: Mapping[str, JsonValue], *, fresh: bool = False
    ) -> None:
        self._folder = folder
        self._common = dict(common)
        self._fresh = fresh

    def path(self, name: str, configuration: Mapping[str, JsonValue]) -> Path:
        """The file of a cell; its name tells people the cell, and the digest the rest."""
        return self._folder / f"{name}-{_digest(self._key(name, configuration))[:20]}.json"

    def get(
        self,
        name: str,
        configuration: Mapping[str, JsonValue],
        compute: Callable[[], Values],
    ) -> Cell:
        """The cell from an earlier run, or computed now and kept.

        Args:
            name: unique within the experiment and fit for a file name.
            configuration: all choices that the result depends on.
            compute: measures it; called only when there is no result yet.

        Returns:
            The cell.
        """
        key = self._key(name, configuration)
        path = self.path(name, configuration)
        if not self._fresh and (kept := _read(path, key)):
            return kept
        start = time.perf_counter()
        values = compute()
        seconds = time.perf_counter() - start
        record = {"key": key, "seconds": seconds, "values": values}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(record, indent=1, allow_nan=False).encode())
        return Cell(values, seconds, resumed=False)

    def _key(self, name: str, configuration: Mapping[str, JsonValue]) -> Values:
        # Through JSON and back, so that it equals what is read from the file.
        key = {"cell": name, "common": self._common, "configuration": dict(configuration)}
        plain: Values = json.loads(json.dumps(key, allow_nan=False))
        return plain


def _digest(value: JsonValue) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hex()


def _read(path: Path, key: Values) -> Cell | None:
    try:
        record = json.loads(path.read_bytes())
        if record["key"] != key:
            return None
        return Cell(record["values"], float(record["seconds"]), resumed=True)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None  # not one of ours, or damaged by hand: computing it again mends it
