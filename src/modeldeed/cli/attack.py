"""``modeldeed attack``: attack a copy of a model and write what is left."""

from __future__ import annotations

import ast
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from safetensors.torch import save as save_tensors
from torch import nn

from modeldeed.cli.attacking import (
    PIPE_WIDTH,
    Attacked,
    DataRoot,
    Normalize,
    OtherData,
    OtherModel,
    OtherWeights,
    Samples,
)
from modeldeed.cli.options import Json, errors, require_weights_file
from modeldeed.errors import OptionError
from modeldeed.storage import write_atomically

if TYPE_CHECKING:
    from modeldeed.attacks import AttackData

__all__ = ["attack"]


def attack(
    name: Annotated[str | None, typer.Argument(help="Of the attack; see --list.")] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Show all attacks: source, needs, strengths, fields.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="module:function that returns the model's architecture.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The model's weights; they are only read.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="What is attacked with: digits, cifar10, cifar100, or a path."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The attacked model's weights, a .safetensors file.")
    ] = None,
    strength: Annotated[
        str | None, typer.Option(help="One of the attack's; the one in the middle when left out.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field, as share=0.5; repeat for more."),
    ] = None,
    data_root: DataRoot = None,
    samples: Samples = None,
    normalize: Normalize = False,
    other_data: OtherData = None,
    other_model: OtherModel = None,
    other_weights: OtherWeights = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 0,
    json_: Json = False,
) -> None:
    """Attack a copy of a model, as others might, and write what is left of it.

    The cost is printed: steps, samples, seconds. Nothing here knows a key.
    """
    if list_:
        _list(json_)
        return
    from modeldeed.attacks import chosen, run  # noqa: PLC0415 - training code

    where = _required(name=name, model=model, weights=weights, data=data, out=out)
    made = chosen(where["name"], strength, **_fields(set_ or []))
    require_weights_file(where["out"], where["weights"])
    attacked = Attacked(where["model"], data_root, samples, normalize)
    target = attacked.loaded(where["weights"])
    given = attacked.held(where["data"], other_data, other_model, other_weights)
    done = run(made, target, given, torch.Generator().manual_seed(seed))
    _write(done.model, where["out"])
    record = {
        "out": str(out),
        "seed": seed,
        **done.record(),
        **_accuracies(target, done.model, given),
    }
    _say(record, json_)


def _required(**given: Any) -> dict[str, Any]:
    for option, value in given.items():
        if value is None:
            named = "NAME" if option == "name" else f"--{option}"
            raise OptionError(f"give {named}, or --list to see what there is")
    return given


def _fields(settings: list[str]) -> dict[str, Any]:
    """From ``field=value`` to fields; what is no Python literal is a word."""
    found: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        if not equals or not field:
            raise OptionError(f"--set: {setting!r} is not of the form field=value")
        try:
            found[field] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[field] = {"true": True, "false": False}.get(text.lower(), text)
    return found


def _accuracies(before: nn.Module, after: nn.Module, data: AttackData) -> dict[str, Any]:
    """Of both models on the test part; None where one has other classes than the data."""
    from modeldeed.audit.measuring import measured_accuracy  # noqa: PLC0415 - training code

    return {
        "accuracy_before": measured_accuracy(before, data.dataset),
        "accuracy_after": measured_accuracy(after, data.dataset),
    }


def _write(model: nn.Module, out: Path) -> None:
    state = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    write_atomically(out, save_tensors(state))


def _say(record: dict[str, Any], json_: bool) -> None:
    if json_:
        typer.echo(json.dumps(record))
        return
    for name, value in record.items():
        if value is None:
            continue
        shown = value
        if isinstance(value, float):
            shown = f"{value:.4g}"
        elif isinstance(value, dict):
            shown = ", ".join(f"{field}={entry}" for field, entry in value.items())
        elif isinstance(value, list):
            shown = ", ".join(map(str, value)) or "nothing"
        typer.echo(f"{name.replace('_', ' ')}: {shown}")


def _list(json_: bool) -> None:
    from modeldeed.attacks.listing import described  # noqa: PLC0415 - training code

    found = described()
    if json_:
        typer.echo(json.dumps([_plain(asdict(one)) for one in found]))
        return
    table = Table(title=f"{len(found)} attacks")
    for heading in ("name", "what it does", "needs", "strengths", "fields"):
        table.add_column(heading, overflow="fold")
    for one in found:
        fields = ", ".join(n if v is None else f"{n}={v}" for n, v in one.fields.items())
        table.add_row(
            one.name, one.summary, ", ".join(one.needs), " · ".join(one.strengths), fields
        )
    # As any table that is a result: in its full width even into a pipe.
    console = Console() if Console().is_terminal else Console(width=PIPE_WIDTH)
    console.print(table)
    errors().print("Sources and what each attack is: see the documentation, attacks.md.")


def _plain(value: Any) -> Any:
    """Tuples as lists; what JSON cannot hold as text."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
