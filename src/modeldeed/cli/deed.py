"""``modeldeed deed``: make a deed, have it dated, check it, open it to a judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from modeldeed.cli.exit_codes import ExitCode
from modeldeed.cli.options import Json, KeyFile, PassphraseFile, errors, open_owner
from modeldeed.deed import Countersignature, Deed
from modeldeed.deed.files import save_opening
from modeldeed.errors import OptionError
from modeldeed.identity import Identity
from modeldeed.manifest import MAX_BYTES
from modeldeed.owner import Owner
from modeldeed.reporting.deed_tables import check_table, deed_table
from modeldeed.results import Verdict
from modeldeed.storage import bounded_bytes, write_atomically
from modeldeed.suspects import open_weights
from modeldeed.suspects.answering import is_answering_path, open_suspect
from modeldeed.timestamping import MAX_TOKEN_BYTES
from modeldeed.trust import Trust
from modeldeed.verification import verify

__all__ = ["deed_app"]

deed_app = typer.Typer(
    help="Signed, dated evidence of whose a model is: make it, check it, open it.",
    no_args_is_help=True,
)
Folder = Annotated[Path, typer.Argument(metavar="DEED", help="Folder of the deed.")]
TrustFile = Annotated[
    Path | None, typer.Option(help="Your trust file: known owners, and authorities that count.")
]
Passports = Annotated[
    list[Path] | None, typer.Option(help="Folder of a passport; its triggers are in it.")
]
Triggers = Annotated[list[Path] | None, typer.Option(help="Folder of a trigger set alone.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of a plug-in with one fusion, or the file of a fusion."),
]


@deed_app.command()
def create(
    model: Annotated[
        Path, typer.Argument(help="The model as it is shipped: a safetensors file or a checkpoint.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the deed, by custom named ….deed.")],
    key: KeyFile,
    passphrase_file: PassphraseFile = None,
    passport: Passports = None,
    triggers: Triggers = None,
    plugin: Plugins = None,
    derived_from: Annotated[
        list[Path] | None, typer.Option(help="Deed of a model that this one was made from.")
    ] = None,
    countersignature: Annotated[
        list[Path] | None, typer.Option(help="Its owner's consent, one for each --derived-from.")
    ] = None,
    alpha_log2: Annotated[
        int | None, typer.Option(min=1, help="A stricter −log2 α than the floor.")
    ] = None,
    json_: Json = False,
) -> None:
    """Make the deed of a marked model. Have it timestamped next."""
    marks = _marks(passport, triggers, plugin)
    if marks is None:
        raise OptionError("a deed is about at least one mark: --passport, --triggers or --plugin")
    owner = open_owner(key, passphrase_file)
    made = Deed.create(
        model,
        owner=owner,
        marks=marks,
        derived_from=_origins(derived_from or [], countersignature or []),
        alpha_log2=alpha_log2,
    )
    _look_for_marks(model, passport or [], owner)
    made.save(out)
    _show(made, json_=json_)


@deed_app.command()
def show(deed: Folder, json_: Json = False) -> None:
    """Show what a deed says: its signature is verified, nothing else is."""
    _show(Deed.load(deed), json_=json_)


@deed_app.command()
def timestamp(
    deed: Folder,
    request: Annotated[
        Path | None,
        typer.Option(help="Write a request here; with --response: the request that was answered."),
    ] = None,
    response: Annotated[
        list[Path] | None, typer.Option(help="Accept an authority's answer; repeat for more.")
    ] = None,
    trust: TrustFile = None,
    authority: Annotated[
        list[str] | None,
        typer.Option(help="Ask this authority of the trust file; repeat for more, two by custom."),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Over the timestamps that there are, as they expire.")
    ] = False,
) -> None:
    """Have a deed dated: write a request, accept answers, or ask authorities by their URLs."""
    loaded = Deed.load(deed)
    known = None if trust is None else Trust.load(trust)
    if response:
        sent = None if request is None else bounded_bytes(request, MAX_TOKEN_BYTES)
        for path in response:
            answer = bounded_bytes(path, MAX_TOKEN_BYTES)
            loaded.accept(answer, trusted=known.trusted if known else None, request=sent)
    elif request is not None:
        write_atomically(request, loaded.request(renew=renew))
        errors().print(f"send {request} to an authority, and accept its answer with --response")
        return
    elif known is not None and authority:
        loaded.timestamp(*(known.authority(name) for name in authority), renew=renew)
    else:
        raise OptionError("give --request, --response, or --trust with --authority")
    loaded.save(deed)
    dated = loaded.check(trust=known).dated.word if known else "not verified: give --trust"
    errors().print(f"{len(loaded.tokens)} timestamps; {dated}")


@deed_app.command(name="open")
def open_(
    deed: Folder,
    key: KeyFile,
    nonce: Annotated[str, typer.Option(help="What the judge drew, hexadecimal.")],
    out: Annotated[Path, typer.Option(help="File for the opening; it is for the judge alone.")],
    passphrase_file: PassphraseFile = None,
    suspect: Annotated[
        Path | None, typer.Option(help="The suspect, as the judge will examine it.")
    ] = None,
    suspect_digest: Annotated[
        str | None, typer.Option(help="Or its digest, as the judge names it.")
    ] = None,
    passport: Passports = None,
    triggers: Triggers = None,
    plugin: Plugins = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Show only this batch of questions, and no seed; repeat."),
    ] = None,
    plugin_seed: Annotated[
        bool,
        typer.Option("--plugin-seed", help="Show a plug-in's seed, which opens it everywhere."),
    ] = False,
) -> None:
    """Show a judge this model's secrets, for one suspect and one dispute."""
    if (suspect is None) == (suspect_digest is None):
        raise OptionError("give --suspect or --suspect-digest")
    marks = _marks(passport, triggers, plugin)
    if marks is None:
        raise OptionError("give what the deed was made of: --passport, --triggers or --plugin")
    loaded, owner = Deed.load(deed), open_owner(key, passphrase_file)
    opening = loaded.open(
        owner,
        suspect_digest or _digest_of(suspect),
        nonce,
        marks=marks,
        batches=batch or None,
        plugin_seed=plugin_seed,
    )
    save_opening(out, opening)
    errors().print(f"{out} holds secrets of this model: give it to the judge alone")


@deed_app.command(name="license")
def license_(
    deed: Folder,
    key: KeyFile,
    licensee: Annotated[
        str, typer.Option(help="Public key of the one who may, as owner show prints it.")
    ],
    terms: Annotated[str, typer.Option(help="The licence, by name or in words.")],
    out: Annotated[Path, typer.Option(help="File for the signed consent.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Consent to models that somebody makes from this one."""
    try:
        identity = Identity(bytes.fromhex(licensee))
    except ValueError as error:
        raise OptionError(
            f"--licensee: {licensee!r} is no public key; one has 64 digits, 0-9 and a-f, as "
            "`modeldeed owner show` prints it"
        ) from error
    consent = Deed.load(deed).license(open_owner(key, passphrase_file), identity, terms)
    try:
        write_atomically(out, consent.to_json(), overwrite=False)
    except FileExistsError as error:
        raise OptionError(f"--out {out} exists already; a consent is never overwritten") from error
    errors().print(f"{out} is the signed consent: give it to the licensee")


@deed_app.command()
def check(
    deed: Folder,
    trust: TrustFile = None,
    model: Annotated[
        Path | None, typer.Option(help="The deed's model, to hold its digests against.")
    ] = None,
    json_: Json = False,
) -> None:
    """Check everything about a deed that needs no secret, and say what was not checked.

    Exit codes: 0 nothing contradicts it, 4 something does, 5 the model is unreadable.
    """
    found = Deed.load(deed).check(trust=None if trust is None else Trust.load(trust), model=model)
    if json_:
        typer.echo(found.model_dump_json())
    else:
        Console().print(check_table(found))
    raise typer.Exit(ExitCode.OK if found.valid else ExitCode.EVIDENCE_INVALID)


def _show(deed: Deed, *, json_: bool) -> None:
    if not json_:
        Console().print(deed_table(deed))
        return
    shown: dict[str, Any] = deed.statement.model_dump(mode="json", by_alias=True)
    typer.echo(
        json.dumps(
            {"deed": deed.digest, "timestamps": len(deed.tokens), **shown}, ensure_ascii=False
        )
    )


def _marks(*given: list[Path] | None) -> list[Path] | None:
    return [path for paths in given for path in paths or []] or None


def _look_for_marks(model: Path, passports: list[Path], owner: Owner) -> None:
    """Warn of a mix-up now: in a dispute, long after it was dated, such a deed would be void."""
    for folder in passports:
        report = verify(model, passport=folder, owner=owner)
        if report.verdict is not Verdict.VERIFIED:
            errors().print(
                f"Warning: {model} does not show the mark of {folder}: {report.reason}. A deed "
                "whose own model does not carry its mark is void in a dispute.",
                markup=False,
            )


def _origins(deeds: list[Path], consents: list[Path]) -> list[Any]:
    if consents and len(consents) != len(deeds):
        raise OptionError("give one --countersignature for each --derived-from, or none")
    upstream = [Deed.load(path) for path in deeds]
    if not consents:
        return list(upstream)
    read = [Countersignature.from_json(bounded_bytes(path, MAX_BYTES)) for path in consents]
    return list(zip(upstream, read, strict=True))


def _digest_of(suspect: Path | None) -> str:
    if suspect is None:
        raise OptionError("give --suspect or --suspect-digest")
    if is_answering_path(suspect):
        with open_suspect(suspect) as opened:
            return opened.identity()
    return open_weights(suspect).digest()
