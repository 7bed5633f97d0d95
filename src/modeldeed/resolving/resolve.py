"""Resolving a dispute: several claims, one suspect, the judge's twenty steps."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from modeldeed.deed.opening import Nonce
from modeldeed.errors import OptionError, SuspectError
from modeldeed.passport.evidence.private_check import DEFAULT_DECOYS, JudgeData
from modeldeed.resolving.claim_folder import ClaimFolder
from modeldeed.resolving.examinee import Examinee
from modeldeed.resolving.examining import ExaminedClaim, Examiner
from modeldeed.resolving.intake import Intake
from modeldeed.resolving.judge import Judge
from modeldeed.resolving.others import others_of, stated
from modeldeed.resolving.results import Dated, Resolution
from modeldeed.resolving.step_log import StepLog
from modeldeed.resolving.summing_up import summed_up
from modeldeed.resolving.taken_claim import TakenClaim
from modeldeed.suspects.answering.preparation import Prepare
from modeldeed.trust import Trust

__all__ = ["draw_nonce", "resolve", "suspect_digest"]

_NONCE: TypeAdapter[str] = TypeAdapter(Nonce)


def draw_nonce() -> str:
    """A number for a new dispute, 64 hexadecimal digits: claimants open their deeds for it."""
    return secrets.token_hex(32)


def suspect_digest(suspect: Any) -> str:
    """The digest that claimants open their deeds for.

    Raises:
        SuspectError: the suspect cannot be read.
    """
    return Examinee("suspect", "suspect", suspect).digest


def resolve(
    claims: Sequence[str | Path],
    suspect: Any,
    *,
    nonce: str,
    trust: Trust | None = None,
    exhibits: Iterable[Any] = (),
    nulls: Iterable[Any] = (),
    suspect_date: datetime | date | None = None,
    model: nn.Module | Sequence[nn.Module] | None = None,
    data: JudgeData | None = None,
    carriers: Tensor | None = None,
    prepare: Prepare | None = None,
    transcripts: str | Path | None = None,
    decoys: int = DEFAULT_DECOYS,
) -> Resolution:
    """Examine claims to one suspect, and say what they are to it and to each other.

    Every claim is examined by itself; then each claim's mark is read in every other claim's
    reference. Who came first is said by lineage and dates, never by the order of the arguments or
    the size of a p-value.

    Args:
        claims: folders of the claimants, see `modeldeed.resolving.claim_folder`.
        suspect: weights (a safetensors file, a checkpoint, a state dict, a module), or what can
            be asked (an ONNX file, an endpoint's configuration, a function, an open suspect).
        nonce: what was drawn for this dispute (`draw_nonce`), hexadecimal; openings are bound
            to it.
        trust: known owners, revocations, authorities, public bases; None trusts nobody.
        exhibits: models that parties show, as `Exhibit`; one that carries a claim's mark and is
            proven older than its deed ends that claim.
        nulls: models known to have nothing to do with the claims.
        suspect_date: the suspect's earliest proven existence, as found by the judge.
        model: an instance of the suspect's architecture, or several, of references too: for
            questions to weights, for aligned readings and for level 2.
        data: the judge's own data, for level 2.
        carriers: benign samples of the judge's own, for plug-ins: inputs of the model or
            canonical integers.
        prepare: how canonical integers become the input of a model in this process.
        transcripts: folder for the suspect's answers; None keeps none.
        decoys: wrong keys of level 2.

    Returns:
        The resolution; the same whatever the order of claims, exhibits and null models.

    Raises:
        SuspectError: the suspect cannot be read, or no claim can be examined in it.
        OptionError: there is no claim, the nonce is malformed, a claim is given twice, or an
            exhibit cannot be read.

    Example:
        >>> import tempfile
        >>> import torch
        >>> empty = tempfile.mkdtemp()
        >>> found = resolve([empty], {"weight": torch.zeros(2)}, nonce=draw_nonce())
        >>> found.outcome.value, found.claims[0].reason
        ('evidence invalid', 'the file deed.json is missing: every claim has a deed')
    """
    judge = Judge(
        trust=trust or Trust.empty(),
        nonce=_checked(nonce),
        models=_models(model),
        data=data,
        carriers=carriers,
        prepare=prepare,
        transcripts=None if transcripts is None else Path(transcripts),
        decoys=decoys,
        decoy_seed=int.from_bytes(hashlib.sha256(nonce.encode()).digest()[:6], "big"),
    )
    log = StepLog()
    accused = Examinee("suspect", "suspect", suspect, judge.models, stated(suspect_date))
    digest = accused.digest
    shown = Dated.of(accused.dating, stated=True)
    log.done(1, f"{accused.label}, digest {digest[:16]}…, {_existence(shown)}")
    others = others_of(exhibits, nulls, judge.trust, judge.models)
    intake = Intake(judge, digest, log)
    taken = [intake.take(folder, name) for folder, name in _named(claims)]
    taken.sort(key=lambda claim: (claim.digest, claim.name))
    _refuse_twins(taken)
    examiner = Examiner(judge, accused, [other for other, _ in others], log)
    examined = [examiner.examine(claim) for claim in taken]
    _require_readable(examined)
    return summed_up(accused, shown, judge, examined, examiner, [o for _, o in others], log)


def _existence(dated: Dated) -> str:
    if dated.earliest is None:
        return "no date of its existence was stated"
    return f"proven to exist at {dated.earliest:%Y-%m-%d %H:%M:%S} UTC"


def _checked(nonce: str) -> str:
    try:
        return _NONCE.validate_python(nonce.lower())
    except (ValidationError, AttributeError) as error:
        raise OptionError(
            f"a nonce is 32 … 128 hexadecimal digits that the judge drew, got {nonce!r}"
        ) from error


def _models(model: nn.Module | Sequence[nn.Module] | None) -> tuple[nn.Module, ...]:
    if model is None:
        return ()
    return (model,) if isinstance(model, nn.Module) else tuple(model)


def _named(claims: Sequence[str | Path]) -> list[tuple[ClaimFolder, str]]:
    """Folders with the names they are called by: their own, told apart where they are alike."""
    if not claims:
        raise OptionError("there is no claim to resolve: give --claim, once for each claimant")
    folders = [ClaimFolder(Path(claim)) for claim in claims]
    if len({folder.path.resolve() for folder in folders}) < len(folders):
        raise OptionError("one claim's folder is given twice")
    # Sorted by path only to number those of one name.
    folders.sort(key=lambda folder: str(folder.path.resolve()))
    names = [folder.name for folder in folders]
    return [
        (folder, name if names.count(name) == 1 else f"{name} {names[: at + 1].count(name)}")
        for at, (folder, name) in enumerate(zip(folders, names, strict=True))
    ]


def _refuse_twins(taken: Sequence[TakenClaim]) -> None:
    valid = [claim for claim in taken if claim.invalid is None]
    for first, second in combinations(valid, 2):
        if first.digest == second.digest:
            raise OptionError(f"{first.name} and {second.name} hand in the same deed; give it once")


def _require_readable(examined: Sequence[ExaminedClaim]) -> None:
    valid = [found for found in examined if found.claim.invalid is None]
    if valid and all(found.unreadable is not None for found in valid):
        raise SuspectError(
            f"no claim can be examined in this suspect; {valid[0].claim.name}: "
            f"{valid[0].unreadable}"
        )
