"""The files of an audit: a plan, and one file for each cell, written whole or not at all.

A cell's file is named by a digest of everything its result depends on. So an audit that is started
again reads what it has, one with other choices never takes it up, and no lock is needed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from modeldeed.attacks.running import configuration
from modeldeed.audit.grid import Entry
from modeldeed.audit.records import Cell, Plan
from modeldeed.digests import sha256
from modeldeed.errors import DataError
from modeldeed.storage import write_atomically

__all__ = ["cell_file", "cell_key", "read_cell", "read_plan", "write_cell", "write_plan"]

PLAN = "audit.json"
CELLS = "cells"
_Kind = TypeVar("_Kind", bound=BaseModel)


def cell_key(entry: Entry, common: dict[str, Any]) -> str:
    """SHA-256 of everything a cell depends on, hexadecimal.

    Args:
        entry: the cell.
        common: what all cells depend on, as JSON holds it.
    """
    attack = None if entry.attack is None else configuration(entry.attack)
    value = {"attack": attack, "seed": entry.seed, "common": common}
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hex()


def cell_file(entry: Entry, key: str) -> str:
    """A cell's file, relative to the audit's folder: its name for people, its digest for the rest.

    Example:
        >>> cell_file(Entry("prune", "90 %", None, 0), 64 * "a")
        'cells/prune-90-percent-0-aaaaaaaaaaaaaaaa.json'
    """
    words = f"{entry.name} {entry.strength}".lower().replace("%", "percent").replace("×", "x")
    name = re.sub(r"[^a-z0-9.]+", "-", words).strip("-.")[:80]
    return f"{CELLS}/{name}-{entry.seed}-{key[:16]}.json"


def read_cell(path: Path, key: str | None = None) -> Cell | None:
    """A cell that was computed before; None where there is none of this key.

    A file that somebody damaged is no cell: computing it again mends it.
    """
    cell = _read(path, Cell)
    return cell if cell is not None and key in (None, cell.key) else None


def write_cell(path: Path, cell: Cell) -> None:
    """Keep a cell; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (cell.model_dump_json(indent=1) + "\n").encode())


def read_plan(folder: Path) -> Plan:
    """An audit's plan.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """
    plan = _read(folder / PLAN, Plan)
    if plan is None:
        raise DataError(f"{folder} holds no {PLAN}: is it the folder of an audit?")
    return plan


def write_plan(folder: Path, plan: Plan) -> None:
    """Write a plan; one that stands there is replaced, and its cells stay."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PLAN, (plan.model_dump_json(indent=1) + "\n").encode())


def _read(path: Path, kind: type[_Kind]) -> _Kind | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
