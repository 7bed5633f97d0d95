"""Cards: what a benchmark measured, with everything needed to measure it again.

A card is one JSON file. It names no host and holds no path, so it can be published as it is.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from modeldeed.errors import DataError
from modeldeed.storage import write_atomically

__all__ = ["Card", "Hardware", "Versions", "card_path", "read_card", "read_cards", "write_card"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Hardware(_Record):
    """The machine a card was measured on, without its name.

    Attributes:
        cpu: model of the processor.
        cores: logical cores this process may use.
        threads: threads of one operation.
        memory_bytes: physical memory.
        gpu: model of the accelerator that was used; None on the processor.
    """

    cpu: str
    cores: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    memory_bytes: Annotated[int, Field(ge=0)]
    gpu: str | None


class Versions(_Record):
    """Versions of what computed the numbers."""

    python: str
    torch: str
    numpy: str
    modeldeed: str


class Card(_Record):
    """One experiment in one setting.

    Attributes:
        experiment: its name.
        setting: which of its settings.
        metrics: what was measured; every experiment documents its own.
        configuration: all choices behind it, training rules and recipes included.
        seeds: the seeds that were run.
        hardware: what it ran on.
        versions: what computed it.
        commit: of the working tree, ``-dirty`` when sources differ from it; ``unknown`` outside
            of a checkout.
        date: when it was finished, UTC.
        seconds: wall time of all cells, also of those that an earlier, interrupted run computed.
        notes: what a reader must know, such as hosts that were left out and why.
    """

    schema_version: Literal["modeldeed-card/v1"] = "modeldeed-card/v1"
    experiment: str
    setting: str
    metrics: dict[str, JsonValue]
    configuration: dict[str, JsonValue]
    seeds: tuple[int, ...]
    hardware: Hardware
    versions: Versions
    commit: str
    date: datetime
    seconds: Annotated[float, Field(ge=0)]
    notes: tuple[str, ...] = ()


def card_path(results: Path, experiment: str, setting: str) -> Path:
    """Where a card stands in a results folder."""
    return results / f"{experiment}-{setting}.json"


def write_card(card: Card, results: Path) -> Path:
    """Write a card whole or not at all, in place of an older one.

    Args:
        card: what to write.
        results: the folder of all cards; made when missing.

    Returns:
        The file.
    """
    results.mkdir(parents=True, exist_ok=True)
    path = card_path(results, card.experiment, card.setting)
    write_atomically(path, (card.model_dump_json(indent=2) + "\n").encode())
    return path


def read_card(path: Path) -> Card:
    """Read a card back.

    Raises:
        DataError: the file is missing, or is no card of this version.
    """
    try:
        return Card.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} is no readable card ({error}); run the experiment again"
        ) from error


def read_cards(results: Path) -> list[Card]:
    """All cards of a results folder, in the order of their file names.

    Raises:
        DataError: one of them cannot be read.
    """
    return [read_card(path) for path in sorted(results.glob("*.json"))]
