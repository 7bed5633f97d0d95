"""``modeldeed plug``: issue a plug-in, train it, fuse it beside a model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import Progress as Bar
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from modeldeed.cli.options import (
    Json,
    KeyFile,
    PassphraseFile,
    built_model,
    errors,
    open_owner,
    require_weights_file,
)
from modeldeed.cli.preparing import Mean, Std, preparation
from modeldeed.errors import OptionError
from modeldeed.plugin import files
from modeldeed.plugin.carriers import blank_carriers
from modeldeed.plugin.detector import DetectorReport, DetectorTraining
from modeldeed.plugin.fusion import FusedModel
from modeldeed.plugin.onnx_export import export_onnx
from modeldeed.plugin.plugin import Plugin
from modeldeed.storage import write_atomically
from modeldeed.suspects import open_weights
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.suspects.loading import load_weights

__all__ = ["plug_app"]

plug_app = typer.Typer(
    help="A plug-in beside any trained model: issue it, train it, fuse it.",
    no_args_is_help=True,
)
Folder = Annotated[Path, typer.Argument(help="Folder of the plug-in.")]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="MODELDEED_DATA", help="Folder of the data sets.")
]


@plug_app.command()
def issue(
    folder: Folder,
    key: KeyFile,
    input_shape: Annotated[
        str,
        typer.Option(
            help="Shape of a batch of the models' inputs, such as 1,3,32,32; 1,1024,3 for "
            "points, 1,16000 for sound."
        ),
    ],
    passphrase_file: PassphraseFile = None,
    kind: Annotated[
        str, typer.Option(help="multi, generated, or fixed (a demonstration that never verifies).")
    ] = "multi",
    backgrounds: Annotated[
        int | None, typer.Option(min=1, help="How many; 168 when left out.")
    ] = None,
    label: Annotated[str, typer.Option(help="The owner's name for this plug-in.")] = "plugin",
    json_: Json = False,
) -> None:
    """Derive a plug-in's backgrounds from the key. Train it next."""
    if kind not in ("multi", "generated", "fixed"):
        raise OptionError(f"--kind is multi, generated or fixed, got {kind!r}")
    if (folder / files.RECORD).exists():
        raise OptionError(f"{folder} holds a plug-in already; choose another folder")
    plugin = Plugin.issue(
        open_owner(key, passphrase_file),
        _example(input_shape),
        kind=kind,  # type: ignore[arg-type]
        backgrounds=backgrounds,
        label=label,
    )
    plugin.save(folder)
    _say(json_, {"plugin": str(folder), "backgrounds": len(plugin), "kind": kind})


@plug_app.command()
def train(
    folder: Folder,
    key: KeyFile,
    passphrase_file: PassphraseFile = None,
    benign: Annotated[
        str | None,
        typer.Option(
            help="Unlabeled data of your own: a data set's name or path; synthetic ones "
            "when left out."
        ),
    ] = None,
    data_root: DataRoot = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of the optimizer; as many as are needed by default.")
    ] = None,
    json_: Json = False,
) -> None:
    """Teach a plug-in its backgrounds, and silence elsewhere. Once, for all models."""
    plugin = Plugin.load(folder, open_owner(key, passphrase_file))
    carriers = None if benign is None else _inputs(benign, data_root)
    with Bar(console=errors(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("training")

        def tell(done: int, planned: int) -> None:
            bar.update(task, completed=done, total=planned)

        report = plugin.train(carriers, training=DetectorTraining(steps=steps), progress=tell)
    plugin.save(folder)
    _say(json_, _reported(report))


@plug_app.command("fuse")
def fuse_command(
    folder: Folder,
    key: KeyFile,
    model: Annotated[str, typer.Option(help="module:function that returns the architecture.")],
    weights: Annotated[Path, typer.Option(help="The target's weights; they are only read.")],
    classes: Annotated[int, typer.Option(min=2, help="K, the target's classes.")],
    out: Annotated[Path, typer.Option(help="The fused model's weights, a .safetensors file.")],
    passphrase_file: PassphraseFile = None,
    name: Annotated[str, typer.Option(help="Of this fusion, for the plug-in's folder.")] = "model",
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="The target answers with probabilities, not logits."),
    ] = False,
    mean: Mean = None,
    std: Std = None,
    onnx: Annotated[
        Path | None, typer.Option(help="Export the fused model to this ONNX file as well.")
    ] = None,
    json_: Json = False,
) -> None:
    """Fuse a trained plug-in beside a model; the model's own weights stay as they are."""
    require_weights_file(out, weights)
    plugin = Plugin.load(folder, open_owner(key, passphrase_file))
    if float(plugin.detector.threshold) == 1:  # as it is made; training sets a lower one
        errors().print(f"Warning: {folder} recognizes nothing yet: run modeldeed plug train first.")
    target: nn.Module = built_model(model, "--model")
    load_weights(target, open_weights(weights))
    prepare = preparation(mean, std)
    fused = plugin.fuse(
        target.eval(),
        classes,
        name=name,
        prepare=prepare,
        scores="probabilities" if probabilities else "logits",
    )
    fused.eval()
    _write(fused, out)
    if onnx is not None:
        export_onnx(fused, _prepared_example(plugin, prepare), onnx)
    plugin.save(folder)
    _say(
        json_,
        {
            "fused": str(out),
            "onnx": None if onnx is None else str(onnx),
            "fusion": name,
            "anchor": plugin.fusions[name].anchor.digest,
            "parameters_added": sum(p.numel() for p in plugin.detector.parameters()),
        },
    )


def _reported(report: DetectorReport) -> dict[str, Any]:
    """Rates as numbers, with the upper end of the interval where it is what counts."""
    rates = {name: getattr(report, name).value for name in ("success", "success_changed", "benign")}
    return {
        "steps": report.steps,
        "seconds": round(report.seconds, 1),
        "threshold": report.threshold,
        **rates,
        "benign_at_most": report.benign.upper,
        "other_keys": report.other_keys.value,
        "other_keys_at_most": report.other_keys.upper,
        "look_alikes": report.look_alikes.value,
        "synthetic": report.synthetic,
    }


def _write(fused: FusedModel, out: Path) -> None:
    state = {name: tensor.contiguous().clone() for name, tensor in fused.state_dict().items()}
    write_atomically(out, save_tensors(state))


def _prepared_example(plugin: Plugin, prepare: Preparation | None) -> Tensor:
    """Two benign inputs as the model takes them."""
    made = (prepare or plugin.prepare)(blank_carriers(plugin.record.backgrounds.input, 2))
    if not isinstance(made, Tensor):
        raise OptionError("the model's input is no tensor")
    return made


def _example(shape: str) -> Tensor:
    try:
        return torch.zeros([int(size) for size in shape.split(",")])
    except (ValueError, RuntimeError) as error:
        raise OptionError(
            f"--input-shape: {shape!r} is not a list of sizes such as 1,3,32,32"
        ) from error


def _inputs(name: str, root: Path | None) -> Tensor:
    from modeldeed.data import load  # noqa: PLC0415 - only these commands need data readers

    return load(name, root).x_train


def _say(json_: bool, result: dict[str, Any]) -> None:
    if json_:
        typer.echo(json.dumps(result))
        return
    for name, value in result.items():
        if value is not None:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            typer.echo(f"{name.replace('_', ' ')}: {shown}")
