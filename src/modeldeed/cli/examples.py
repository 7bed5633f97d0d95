"""The two options that say what a model's input looks like."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import typer

from modeldeed.cli.options import built
from modeldeed.errors import OptionError

__all__ = ["Example", "InputShape", "example_of"]

InputShape = Annotated[
    str | None, typer.Option(help="Shape of an example batch, such as 2,3,32,32.")
]
Example = Annotated[
    str | None,
    typer.Option(help="module:function that returns an example batch, for other inputs."),
]


def example_of(shape: str | None, function: str | None) -> Any:
    """The example that one of the options names.

    Raises:
        OptionError: both or neither are given, the function fails, or the shape is none.
    """
    if (shape is None) == (function is None):
        raise OptionError("give one of --input-shape and --example")
    if function is not None:
        return built(function, "--example")
    try:
        sizes = [int(size) for size in (shape or "").split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise OptionError(f"--input-shape: {shape!r} is not a list of sizes such as 2,3,32,32")
    try:
        return torch.zeros(sizes)
    except RuntimeError as error:
        raise OptionError(
            f"--input-shape: a batch of {shape} is too large to be made; two small samples do"
        ) from error
