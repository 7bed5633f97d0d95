"""``modeldeed anchor``: fix everything before marking, and have it dated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from modeldeed.anchoring import files
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.anchoring.weights import EXHIBIT
from modeldeed.cli.examples import Example, InputShape, example_of
from modeldeed.cli.options import Json, KeyFile, PassphraseFile, built_model, errors, open_owner
from modeldeed.errors import OptionError
from modeldeed.passport import Passport
from modeldeed.storage import bounded_bytes
from modeldeed.suspects import open_weights
from modeldeed.suspects.loading import load_weights
from modeldeed.timestamping import MAX_TOKEN_BYTES, Stamp, TrustedAuthority
from modeldeed.timestamping.client import post as ask
from modeldeed.trust import Trust

__all__ = ["anchor_app"]

anchor_app = typer.Typer(
    help="Fix a mark before it exists, and have it dated: its key follows from the timestamp.",
    no_args_is_help=True,
)
Folder = Annotated[Path, typer.Argument(help="Folder of the anchor.")]
TrustFile = Annotated[Path | None, typer.Option("--trust", help="Your trust file.")]


@anchor_app.command()
def make(
    folder: Folder,
    model: Annotated[str, typer.Argument(help="module:function that returns the model.")],
    key: KeyFile,
    trust: Annotated[Path, typer.Option(help="Your trust file; it names the authority.")],
    authority: Annotated[
        str | None, typer.Option(help="Its name in the trust file; the only one when left out.")
    ] = None,
    post: Annotated[
        bool, typer.Option("--post", help="Ask the authority now, at its address.")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights of a trained model that is to be marked afterwards."),
    ] = None,
    input_shape: InputShape = None,
    example: Example = None,
    label: Annotated[str, typer.Option(help="The owner's name for this model.")] = "model",
    exclude: Annotated[
        list[str] | None, typer.Option(help="Not these norms (name or glob); repeat for more.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="How many classes: triggers are anchored as well.")
    ] = None,
    message: Annotated[
        str | None, typer.Option(help="A short text that is to be written into the bits.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Anchor a passport: weights, norms and rules are fixed, and a request is left to be signed.

    The folder keeps the weights: train from these, and from no others.
    """
    if (folder / files.RECORD).exists():
        raise OptionError(f"{folder} holds an anchor already; choose another folder")
    named = _authority(Trust.load(trust), authority)
    host = built_model(model, "MODEL")
    if weights is not None:
        load_weights(host, open_weights(weights))
    anchoring = Passport.anchor(
        host,
        open_owner(key, passphrase_file),
        example=example_of(input_shape, example),
        authority=named,
        label=label,
        exclude=exclude or None,
        classes=classes or (),
        message=message,
        triggers=classes is not None,
    )
    anchoring.save(folder, host)
    stamp = _posted(anchoring, folder, named) if post else None
    _say(folder, anchoring, stamp, json_=json_)


@anchor_app.command()
def accept(
    folder: Folder,
    response: Annotated[Path, typer.Argument(help="The authority's answer, a .tsr file.")],
    trust: TrustFile = None,
    json_: Json = False,
) -> None:
    """Take the authority's answer to the request; the mark can be issued then.

    Exit codes: 0 accepted, 2 usage, 4 the answer is malformed, or not to this request.
    """
    anchoring = Anchoring.load(folder)
    answer = bounded_bytes(response, MAX_TOKEN_BYTES)
    stamp = anchoring.accept(answer, None if trust is None else Trust.load(trust))
    anchoring.save(folder)
    if stamp is None:
        errors().print("The answer's signature was not verified: give --trust for that.")
    _say(folder, anchoring, stamp, json_=json_)


def _authority(trust: Trust, name: str | None) -> TrustedAuthority:
    if name is not None:
        return trust.authority(name)
    known = trust.trusted
    if len(known) != 1:
        raise OptionError(
            f"the trust file has {len(known)} authorities; name the one to ask with --authority"
        )
    return known[0]


def _posted(anchoring: Anchoring, folder: Path, authority: TrustedAuthority) -> Stamp | None:
    if authority.url is None:
        raise OptionError(
            f"the trust file has no address of {authority.authority.name}; the request lies in "
            f"{folder / files.REQUEST}, send it by other means"
        )
    stamp = anchoring.accept(ask(authority.url, anchoring.request()), authority)
    anchoring.save(folder)
    return stamp


def _say(folder: Path, anchoring: Anchoring, stamp: Stamp | None, *, json_: bool) -> None:
    authority = anchoring.anchor.authority
    found: dict[str, Any] = {
        "folder": str(folder),
        "anchor": anchoring.anchor.digest,
        "bits": sum(target.bits for target in anchoring.anchor.targets),
        "authority": None if authority is None else authority.name,
        "ready": anchoring.ready,
        "verified": stamp is not None,
        "earliest": None if stamp is None else stamp.earliest.isoformat(),
        "latest": None if stamp is None else stamp.latest.isoformat(),
    }
    if json_:
        typer.echo(json.dumps(found))
        return
    for name, value in found.items():
        typer.echo(f"{name}: {value}")
    if not anchoring.ready:
        errors().print(
            f"Send {folder / files.REQUEST} to the authority, then run: modeldeed anchor accept "
            f"{folder} RESPONSE"
        )
    if (folder / EXHIBIT).exists():
        errors().print(
            f"Train from the weights in {folder / EXHIBIT}, and keep them: the anchor commits to "
            "these."
        )
