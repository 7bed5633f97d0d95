"""Query a suspect: the black-box proof, from opening it to the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from modeldeed._version import __version__
from modeldeed.anchoring.standing import UNANCHORED, Standing, Trusted, standing_of_claim
from modeldeed.claimant import Claimant
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.querying.answer_claim import AnswerClaim
from modeldeed.querying.answer_evidence import (
    judge_answers,
)
from modeldeed.querying.asking import Progress
from modeldeed.querying.claims import claim_of
from modeldeed.querying.examination import Examination
from modeldeed.results import AnswerEvidence, NullAnswers, Report, Verdict
from modeldeed.statistics import BLACK_BOX, LN10, log_binomial_tail
from modeldeed.suspects.answering import (
    Suspect,
    Transcript,
    TranscriptHeader,
    is_answering_path,
    open_suspect,
)
from modeldeed.suspects.answering.endpoint_file import SUFFIXES
from modeldeed.suspects.answering.preparation import Prepare
from modeldeed.suspects.answering.urls import without_query

__all__ = ["examine_answers", "query", "rejudge"]


def query(
    suspect: Any,
    *,
    triggers: Any = None,
    plugin: Any = None,
    carriers: Tensor | None = None,
    owner: Claimant,
    trust: Trusted | None = None,
    batches: Sequence[int] = (0,),
    count: int | None = None,
    transcripts: str | Path | None = None,
    nulls: Mapping[str, Any] | None = None,
    prepare: Prepare | None = None,
    progress: Progress | None = None,
) -> Report:
    """Verify an owner's claim to a model by its answers alone.

    The claim is a trigger set or a plug-in. Each question's label is hidden and uniform over K
    classes, so who does not know them matches with probability 1/K, whatever he does. The suspect
    is asked until the evidence decides or the questions are used up.

    Args:
        suspect: a function from inputs to scores or classes, a torch module, an exported program,
            the path of an ONNX file or of an endpoint's configuration, or an open `Suspect`.
        triggers: the claim: a trigger set or a passport with one, or the folder of either.
        plugin: the claim instead: a plug-in that was fused beside one model, the record of one
            fusion, or the folder or file of either.
        carriers: for a plug-in: benign samples of the judge's own, in canonical integers; each
            verification sample is one of them on a keyed background.
        owner: whose claim it is, by the owner's secret or by one model's opened seed.
        trust: the authorities whose timestamps you believe. Where one of them signed the claim's
            anchor, it pays for 2²⁰ keys tried beforehand and needs fewer answers; otherwise for
            2⁶⁴.
        batches: numbers of the batches to use, fixed before anything is asked. One is enough;
            several pay for each other.
        count: ask exactly so many triggers of one batch and test the number of matches, instead
            of stopping as soon as the evidence decides.
        transcripts: a folder; every answer is written there before the next question, and what
            stands there already is not asked again. None keeps no transcript: for models of your
            own.
        nulls: other models by their names, to be asked the same triggers, for comparison; they
            decide nothing.
        prepare: how canonical integers become the input of a suspect in this process (and of
            ``nulls``), for example ``Preparation(mean=..., std=...)``. None takes what
            the claim knows, if it does; an endpoint's configuration has its own.
        progress: told (answers so far, questions) after every group; nothing of what was answered.

    Returns:
        The report; its verdict is ``verified``, ``not verified`` or ``inconclusive``. A key of
        another owner than the claim's is never verified.

    Raises:
        EvidenceError: the claim or a transcript was altered or is about something else, the
            timestamp is not of the trusted authority that the anchor names, or the trust file
            revokes the identity and the anchor is not proven to be older.
        SuspectError: the suspect cannot be reached; transcripts keep what it answered.
        OptionError: a batch or a count is out of range, or a transcript is to be kept of a
            function, which only its name tells from others.

    Example:
        >>> import torch
        >>> from modeldeed import Owner, TriggerSet
        >>> owner = Owner.generate()
        >>> triggers = TriggerSet.issue(owner, example=torch.rand(1, 1, 8, 8), classes=4)
        >>> report = query(lambda images: images.sum((2, 3)).repeat(1, 4), triggers=triggers,
        ...                owner=owner)
        >>> report.verdict.value
        'not verified'
    """
    claim = claim_of(owner, triggers=triggers, plugin=plugin, carriers=carriers)
    return examine_answers(
        suspect,
        claim,
        _standing(claim, trust),
        batches=batches,
        count=count,
        transcripts=transcripts,
        nulls=nulls,
        prepare=prepare,
        progress=progress,
    )


def examine_answers(
    suspect: Any,
    claim: AnswerClaim,
    standing: Standing = UNANCHORED,
    *,
    batches: Sequence[int] = (0,),
    count: int | None = None,
    transcripts: str | Path | None = None,
    nulls: Mapping[str, Any] | None = None,
    prepare: Prepare | None = None,
    progress: Progress | None = None,
    expected: str | None = None,
) -> Report:
    """Examine a suspect's answers for a claim; arguments, report and errors are those of `query`.

    Args:
        suspect: who is asked.
        claim: whose questions.
        standing: what its anchor is worth to this judge.
        batches: as of `query`.
        count: as of `query`.
        transcripts: as of `query`.
        nulls: as of `query`.
        prepare: as of `query`.
        progress: as of `query`.
        expected: the suspect's digest; another suspect is not asked at all.
    """
    budget = standing.budget(BLACK_BOX)
    examination = Examination(claim, tuple(batches), count, progress, budget)
    folder = None if transcripts is None else Path(transcripts)
    with _opened(suspect, prepare, claim) as opened:
        if expected is not None and opened.identity() != expected:
            raise EvidenceError(
                f"the claim was opened for the suspect {expected[:16]}…, not for "
                f"{opened.identity()[:16]}…"
            )
        if folder is not None and not opened.identified:
            raise OptionError(
                f"{opened.label} is known by its name only, so its transcript could be another "
                "function's; give a Suspect with a description of its own, or transcripts=None"
            )
        recorded = 0 if folder is None else examination.recorded(opened, folder)
        evidence = examination.run(opened, folder)
        label, identity = opened.label, opened.identity()
    compared = []
    for name, model in (nulls or {}).items():
        with _opened(model, prepare, claim) as null:
            compared.append(examination.of_null(name, null, evidence))
    evidence = evidence.model_copy(update={"nulls": tuple(compared)})
    notes = (f"{recorded} answers stood in a transcript before and were not asked now",)
    return _report(claim, standing, evidence, label, identity, notes if recorded else ())


def rejudge(
    transcripts: Sequence[str | Path],
    *,
    triggers: Any = None,
    plugin: Any = None,
    carriers: Tensor | None = None,
    owner: Claimant,
    trust: Trusted | None = None,
) -> Report:
    """Judge transcripts again, without asking anybody.

    Args:
        transcripts: files of one claim and suspect, one for each batch that was begun.
        triggers: the claim, as of `query`.
        plugin: the claim instead, as of `query`.
        carriers: for a plug-in: those that `query` was given.
        owner: whose claim it is.
        trust: as of `query`.

    Returns:
        The report that `query` gave; a transcript that was broken off is inconclusive.

    Raises:
        EvidenceError: a transcript is malformed, altered, or about something else.
        OptionError: there is none.
    """
    claim = claim_of(owner, triggers=triggers, plugin=plugin, carriers=carriers)
    read = [Transcript.read(path) for path in transcripts]
    if not read:
        raise OptionError("there is no transcript to judge")
    header = read[0].header
    for transcript in read:
        _require_about(claim, header, transcript)
    _require_first_batches(read)
    standing = _standing(claim, trust)
    budget = standing.budget(BLACK_BOX)
    examination = Examination(claim, tuple(header.batches), header.count, None, budget)
    evidence = examination.run_recorded(read)
    return _report(claim, standing, evidence, _label(header), header.suspect, _RECORDED)


def _standing(claim: AnswerClaim, trust: Trusted | None) -> Standing:
    """What the anchor is worth; another's anchor would have had a token of its own."""
    if not claim.owns:
        return UNANCHORED
    return standing_of_claim(claim.manifest, claim.owner.identity, trust)


def _opened(suspect: Any, prepare: Prepare | None, claim: AnswerClaim) -> Suspect:
    classes = claim.manifest.anchor.classes or None
    in_process = not isinstance(suspect, Suspect) and not _is_endpoint(suspect)
    chosen = (prepare or claim.prepare) if in_process else None
    return open_suspect(suspect, prepare=chosen, classes=classes)


def _is_endpoint(suspect: Any) -> bool:
    if not isinstance(suspect, str | Path):
        return not callable(suspect)
    return is_answering_path(suspect) and Path(suspect).name.lower().endswith(SUFFIXES)


def _require_about(claim: AnswerClaim, header: TranscriptHeader, transcript: Transcript) -> None:
    found = transcript.header
    if (found.anchor, found.rule) != (claim.manifest.anchor.digest, claim.rule_digest):
        raise EvidenceError(f"{transcript.path} is about another claim than this one")
    if found.suspect != header.suspect:
        raise EvidenceError(f"{transcript.path} is about another suspect than the first one")
    if (found.batches, found.count) != (header.batches, header.count):
        raise EvidenceError(f"{transcript.path} is of another examination than the first one")


def _require_first_batches(transcripts: Sequence[Transcript]) -> None:
    """Batches are used in the order of the plan, so none of those begun can be left out."""
    given = [transcript.header.batch for transcript in transcripts]
    planned = transcripts[0].header.batches
    if given != planned[: len(given)]:
        raise EvidenceError(
            f"transcripts of the batches {given} are given, and {planned} were to be used in this "
            "order: give all that were begun"
        )


_RECORDED = ("all answers are from transcripts, which are unsigned; nobody was asked",)


def _label(header: TranscriptHeader) -> str:
    """What a transcript calls its suspect: a stranger's words, so shortened and made printable."""
    text = str(header.description.get("url", header.description.get("kind", "suspect")))
    shown = without_query(text)[:200]
    return shown if shown.isprintable() else ascii(shown)


def _report(
    claim: AnswerClaim,
    standing: Standing,
    evidence: AnswerEvidence,
    label: str,
    identity: str,
    notes: tuple[str, ...] = (),
) -> Report:
    verdict, reason = judge_answers(evidence)
    if not claim.owns:
        verdict = Verdict.NOT_VERIFIED
        reason = f"the key is not this claim's; under it, {reason}"
    return Report(
        verdict=verdict,
        reason=reason,
        identity=claim.owner.identity.fingerprint,
        anchored=standing.anchored,
        anchor_time=standing.shown(),
        suspect=label,
        suspect_digest=identity,
        anchor_digest=claim.manifest.anchor.digest,
        answers=evidence,
        warnings=(*notes, *_warnings(evidence), *standing.notes),
        version=__version__,
    )


def _warnings(evidence: AnswerEvidence) -> tuple[str, ...]:
    warnings = []
    if evidence.refused:
        warnings.append(f"refused questions, which count for neither side: {evidence.refused}")
    foreign = sum(batch.foreign for batch in evidence.batches)
    if foreign:
        warnings.append(
            f"answers that are no class of the claim, counted as mismatches: {foreign}; see "
            "whether its names or numbers of classes are the claim's"
        )
    carried = [null.model for null in evidence.nulls if _carries(null, evidence)]
    if carried:
        warnings.append(f"models given for comparison match as well: {', '.join(carried)}")
    return tuple(warnings)


def _carries(null: NullAnswers, evidence: AnswerEvidence) -> bool:
    """Whether a model given for comparison passes the test that the suspect was put to."""
    found = null.log10_e
    if evidence.test == "fixed":
        found = -log_binomial_tail(null.matches, null.queries, 1 / evidence.classes) / LN10
    return found >= evidence.threshold_log10
