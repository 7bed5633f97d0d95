"""The options that say how canonical integers become a model's input."""

from __future__ import annotations

from typing import Annotated

import typer

from modeldeed.errors import OptionError
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["Mean", "Std", "preparation"]

Mean = Annotated[str | None, typer.Option(help="Subtracted from each channel, as 0.49,0.48,0.45.")]
Std = Annotated[str | None, typer.Option(help="Each channel is divided by it, as 0.25,0.24,0.26.")]


def preparation(mean: str | None, std: str | None) -> Preparation | None:
    """What both options amount to; None where neither is given.

    Raises:
        OptionError: one is no list of numbers, or they do not go together.
    """
    if mean is None and std is None:
        return None
    return Preparation(mean=_numbers("--mean", mean), std=_numbers("--std", std))


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"{option}: {text!r} is no list of numbers like 0.5,0.5,0.5") from error
