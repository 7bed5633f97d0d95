"""``modeldeed resolve``: several claims to one suspect, examined by a judge."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from modeldeed.cli.exit_codes import ExitCode, code_of_verdict
from modeldeed.cli.options import Json, PassphraseFile, built_model, open_owner
from modeldeed.cli.preparing import Mean, Std, preparation
from modeldeed.cli.reports import TRANSCRIPTS
from modeldeed.data._extras import import_extra
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.passport.evidence.private_check import DEFAULT_DECOYS, JudgeData
from modeldeed.reporting.resolution_page import write_resolution_page
from modeldeed.reporting.resolution_tables import resolution_table
from modeldeed.resolving import Exhibit, Resolution, draw_nonce, suspect_digest
from modeldeed.resolving import resolve as examine
from modeldeed.resolving.signed_record import sign_resolution
from modeldeed.storage import bounded_bytes, write_atomically
from modeldeed.timestamping import MAX_TOKEN_BYTES
from modeldeed.trust import Trust

__all__ = ["resolve"]

_TOKEN = ".tsr"


def resolve(
    suspect: Annotated[
        Path,
        typer.Option(
            help="The accused model: a safetensors file, a checkpoint's folder, an ONNX file, or "
            "an endpoint's configuration."
        ),
    ],
    claim: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of a claimant; once for each. Without any: draw the number of a new "
            "dispute and show the suspect's digest."
        ),
    ] = None,
    nonce: Annotated[
        str | None, typer.Option(help="The dispute's number, which the openings were made for.")
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(help="Trust file: owners, revocations, authorities, public bases."),
    ] = None,
    exhibit: Annotated[
        list[str] | None,
        typer.Option(
            help="FILE, FILE=DATE or FILE=TOKEN.tsr: another model, and what proves when it "
            "existed; may be repeated."
        ),
    ] = None,
    null: Annotated[
        list[Path] | None,
        typer.Option(help="A model that has nothing to do with the claims; may be repeated."),
    ] = None,
    suspect_date: Annotated[
        str | None,
        typer.Option(help="The suspect's earliest proven existence: a day, or a moment with zone."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="module:function that returns an architecture of the suspect or of a reference, "
            "for aligned readings, level 2 and questions to weights; may be repeated."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The judge's data for level 2: a data set's name or path.")
    ] = None,
    carriers: Annotated[
        str | None,
        typer.Option(help="Benign data of the judge's for plug-ins: a data set's name or path."),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(envvar="MODELDEED_DATA", help="Folder of the data sets.")
    ] = None,
    images: Annotated[
        int, typer.Option(min=2, help="Unlabeled, and as many labeled, samples for level 2.")
    ] = 256,
    decoys: Annotated[int, typer.Option(min=1, help="Wrong keys for level 2.")] = DEFAULT_DECOYS,
    transcripts: Annotated[
        Path, typer.Option(help="Folder of transcripts: what stands there is not asked again.")
    ] = TRANSCRIPTS,
    mean: Mean = None,
    std: Std = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page as well.")] = None,
    judge_key: Annotated[
        Path | None, typer.Option(help="The judge's encrypted secret file, to sign the report.")
    ] = None,
    signed: Annotated[
        Path | None, typer.Option(help="With --judge-key: where the signed report is written.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Examine claims to one suspect, and say what they are to it and to each other.

    Exit codes: 0 a claim is verified and nothing contradicts, 1 not verified, 2 usage,
    3 inconclusive, conflict or order unknown, 4 every claim is void, 5 suspect unreadable.
    """
    if not claim:
        _new_dispute(suspect, json_=json_)
        return
    if nonce is None:
        raise OptionError(
            "--nonce is missing: give the number that you drew for this dispute; without --claim "
            "this command draws one"
        )
    if (judge_key is None) != (signed is None):
        raise OptionError("--judge-key and --signed go together")
    if html is not None:
        import_extra("jinja2", "jinja2", "report")
    found = examine(
        claim,
        suspect,
        nonce=nonce,
        trust=None if trust is None else Trust.load(trust),
        exhibits=[_exhibit(text) for text in exhibit or ()],
        nulls=null or (),
        suspect_date=None if suspect_date is None else _date("--suspect-date", suspect_date),
        model=[built_model(reference, "--model") for reference in model or ()],
        data=None if data is None else _judge_data(data, data_root, images),
        carriers=None if carriers is None else _benign(carriers, data_root),
        prepare=preparation(mean, std),
        transcripts=transcripts,
        decoys=decoys,
    )
    if judge_key is not None and signed is not None:
        found, record = sign_resolution(found, open_owner(judge_key, passphrase_file))
        write_atomically(signed, record)
    raise typer.Exit(_shown(found, html, json_=json_))


def _shown(found: Resolution, html: Path | None, *, json_: bool) -> ExitCode:
    if html is not None:
        write_resolution_page(found, html)
    if json_:
        typer.echo(found.model_dump_json())
    else:
        Console().print(resolution_table(found))
    return code_of_verdict(found.outcome)


def _new_dispute(suspect: Path, *, json_: bool) -> None:
    """What a judge tells all claimants before they open their deeds."""
    digest, nonce = suspect_digest(suspect), draw_nonce()
    if json_:
        typer.echo(json.dumps({"suspect_digest": digest, "nonce": nonce}))
        return
    typer.echo(f"suspect  {digest}\nnonce    {nonce}")


def _exhibit(text: str) -> Exhibit:
    path, mark, when = text.rpartition("=")
    if not mark or Path(text).exists():
        return Exhibit(Path(text))
    if when.endswith(_TOKEN):
        try:
            token = bounded_bytes(Path(when), MAX_TOKEN_BYTES)
        except EvidenceError as error:
            raise OptionError(f"--exhibit: {error}") from error
        return Exhibit(Path(path), tokens=[token])
    return Exhibit(Path(path), _date("--exhibit", when))


def _date(option: str, text: str) -> datetime | date:
    try:
        if len(text) == len("2024-05-01"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise OptionError(
            f"{option}: {text!r} is no date like 2024-05-01 or 2024-05-01T12:00:00Z"
        ) from error
    if moment.tzinfo is None:
        raise OptionError(f"{option}: {text!r} has no time zone; append Z for UTC")
    return moment


def _judge_data(name: str, root: Path | None, images: int) -> JudgeData:
    from modeldeed.data import load  # noqa: PLC0415 - most disputes need no data readers

    found = load(name, root)
    part = found.subset(train=min(images, len(found.y_train)), test=min(images, len(found.y_test)))
    return JudgeData(part.x_train, part.x_test, part.y_test)


def _benign(name: str, root: Path | None) -> Any:
    from modeldeed.data import load  # noqa: PLC0415 - most disputes need no data readers

    return load(name, root).x_test
