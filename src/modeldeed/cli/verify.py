"""``modeldeed verify``: a claim against a suspect's weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor, nn

from modeldeed import verification
from modeldeed.cli.options import Json, PassphraseFile, built_model, errors, open_owner
from modeldeed.cli.reports import TRANSCRIPTS, shown
from modeldeed.deed.verifying import verify_deed
from modeldeed.errors import OptionError
from modeldeed.passport.evidence.private_check import DEFAULT_DECOYS, JudgeData, Progress
from modeldeed.querying.query import query as examine
from modeldeed.suspects.answering import is_answering_path
from modeldeed.suspects.onnx_weights import is_onnx
from modeldeed.trust import Trust

__all__ = ["verify"]

_HARDLY_RIGHT = 0.5
OptionalKeyFile = Annotated[
    Path | None, typer.Option("--key", help="The owner's encrypted secret file.")
]


def verify(
    weights: Annotated[
        Path,
        typer.Argument(
            help="The suspect's weights: a safetensors file, or a checkpoint's folder. Or what can "
            "be asked: an ONNX file, or an endpoint's configuration."
        ),
    ],
    passport: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the claimant's passport; with --deed only where it has trained heads "
            "or a coloured reading."
        ),
    ] = None,
    key: OptionalKeyFile = None,
    passphrase_file: PassphraseFile = None,
    deed: Annotated[
        Path | None, typer.Option(help="Instead of passport and key: the claimant's deed.")
    ] = None,
    opening: Annotated[
        Path | None, typer.Option(help="With --deed: what the owner opened for this suspect.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Your trust file: known owners, authorities that count.")
    ] = None,
    nonce: Annotated[
        str | None, typer.Option(help="With --deed: what you drew for this dispute, hexadecimal.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="With --deed: the deed's own model.")
    ] = None,
    unmarked: Annotated[
        Path | None,
        typer.Option(
            help="With --deed, for an aligned reading: the weights before marking, as anchored."
        ),
    ] = None,
    reference_model: Annotated[
        str | None,
        typer.Option(
            help="With --deed, likewise: module:function that returns the reference's "
            "architecture; that of --model when left out."
        ),
    ] = None,
    carriers: Annotated[
        str | None,
        typer.Option(
            help="With --deed, for a plug-in: benign data of your own, a data set's name or path."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="module:function that returns the suspect's architecture (level 2, and aligned "
            "readings)."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The judge's data: a data set's name or path (level 2).")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(envvar="MODELDEED_DATA", help="Folder of the data sets.")
    ] = None,
    normalize: Annotated[
        bool, typer.Option(help="Standardize the data as the model expects it.")
    ] = False,
    images: Annotated[
        int, typer.Option(min=2, help="Unlabeled, and as many labeled, samples for level 2.")
    ] = 256,
    decoys: Annotated[int, typer.Option(min=1, help="Wrong keys for level 2.")] = DEFAULT_DECOYS,
    decoy_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the wrong keys; drawn when left out.")
    ] = None,
    json_: Json = False,
) -> None:
    """Verify a claim: level 1 from the weights alone; level 2 as well with --model and --data.

    With --deed, --reference, --unmarked and --model a suspect whose direct reading does not verify
    is aligned to the reference and read again.

    An ONNX file and an endpoint's configuration are asked instead, as by "modeldeed query". With
    --unmarked or --reference-model the weights of an ONNX file are read; --model is then the
    reference's architecture.

    Exit codes: 0 verified, 1 not verified, 2 usage, 3 inconclusive, 4 evidence invalid,
    5 suspect unreadable.
    """
    aligned = (unmarked, reference_model) != (None, None)
    _require_together(model, data, aligned=aligned)
    known = None if trust is None else Trust.load(trust)
    claim: dict[str, Any] = {"trust": known}
    if deed is None and opening is None:
        if passport is None or key is None:
            raise OptionError("give --passport with --key, or --deed with --opening")
        if (nonce, reference, carriers) != (None, None, None) or aligned:
            raise OptionError(
                "--nonce, --reference, --unmarked, --reference-model and --carriers belong to "
                "--deed"
            )
        claim |= {"owner": open_owner(key, passphrase_file)}
    elif key is not None:
        raise OptionError("--deed with --opening needs no --key; a judge has none")
    else:
        claim |= {"deed": deed, "opening": opening, "nonce": nonce, "reference": reference}
        claim["carriers"] = None if carriers is None else _benign(carriers, data_root)
    asked = is_answering_path(weights) and not (aligned and is_onnx(weights))
    if asked and (model is not None or aligned):
        raise OptionError("--model and --data belong to weights; this suspect is asked")
    if asked:
        if deed is None and opening is None:
            report = examine(weights, triggers=passport, transcripts=TRANSCRIPTS, **claim)
        else:
            report = verify_deed(weights, asked=True, transcripts=TRANSCRIPTS, **claim)
        raise typer.Exit(shown(report, json_=json_))
    judge_data = None
    if data is not None:
        judge_data = _judge_data(data, data_root, images, normalize=normalize)
    report = verification.verify(
        weights,
        passport=passport,
        **claim,
        unmarked=unmarked,
        reference_model=_built(reference_model, "--reference-model"),
        model=_built(model, "--model"),
        data=judge_data,
        decoys=decoys,
        decoy_seed=decoy_seed,
        progress=_progress(),
    )
    branch = report.branch
    if branch and not normalize and branch.public_accuracy < _HARDLY_RIGHT:
        errors().print(
            f"level 2: the model itself reaches only {branch.public_accuracy:.2f} on these data; "
            "if it was trained on standardized inputs, add --normalize"
        )
    raise typer.Exit(shown(report, json_=json_))


def _require_together(model: str | None, data: str | None, *, aligned: bool) -> None:
    if data is not None and model is None:
        raise OptionError("--model and --data go together: level 2 needs both")
    if model is not None and data is None and not aligned:
        raise OptionError(
            "--model and --data go together: level 2 needs both; or --model and --unmarked, for an "
            "aligned reading"
        )


def _built(name: str | None, option: str) -> nn.Module | None:
    return None if name is None else built_model(name, option)


def _benign(name: str, root: Path | None) -> Tensor:
    from modeldeed.data import load  # noqa: PLC0415 - most claims need no data readers

    return load(name, root).x_test


def _judge_data(name: str, root: Path | None, images: int, *, normalize: bool) -> JudgeData:
    from modeldeed.data import load  # noqa: PLC0415 - level 1 needs no data readers

    dataset = load(name, root)
    if normalize:
        dataset = dataset.normalized()
    part = dataset.subset(
        train=min(images, len(dataset.y_train)), test=min(images, len(dataset.y_test))
    )
    return JudgeData(part.x_train, part.x_test, part.y_test)


def _progress() -> Progress:
    """Say first how long level 2 will take, then how far it is (on a terminal only)."""
    console = errors()

    def tell(done: int, planned: int, seconds: float) -> None:
        if done == 1:
            console.print(f"level 2: {planned} wrong keys, about {seconds:.0f} s")
        if sys.stderr.isatty():
            console.print(f"  {done}/{planned}", end="\r")

    return tell
