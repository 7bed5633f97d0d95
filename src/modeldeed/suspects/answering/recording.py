"""Asking with a transcript: every answer is recorded before the next question goes out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from modeldeed.errors import EvidenceError, OptionError, SuspectError
from modeldeed.suspects.answering.batches import groups, kind_of, sample_digest
from modeldeed.suspects.answering.suspect import Suspect
from modeldeed.suspects.answering.transcript import Transcript
from modeldeed.suspects.answering.transcript_lines import Answered, probabilities_digest

__all__ = ["ask_recorded", "require_answering", "require_samples"]


def ask_recorded(
    suspect: Suspect, batch: Tensor, transcript: Transcript, *, most: int | None = None
) -> tuple[int | None, ...]:
    """Ask about samples in their order, going on where the transcript stopped.

    What is recorded is not asked again. Samples go out in groups of ``suspect.group_size``, and
    the answers to a group are on the disk before the next one.

    Args:
        suspect: the one that the transcript is about.
        batch: all samples of the transcript, canonical, in their order.
        transcript: open for writing; answers are appended.
        most: ask about no more than this many new samples in this call; None for all.

    Returns:
        The labels recorded so far, at most one for each sample; None is a refusal.

    Raises:
        OptionError: the batch is not canonical, holds a sample twice, or the suspect's
            preparation does not fit.
        EvidenceError: the transcript is about another suspect or other samples, or cannot be
            written.
        SuspectError: the suspect stopped answering; what it answered before is recorded.
    """
    kind_of(batch)
    batch = batch.detach().cpu()
    digests = [sample_digest(sample) for sample in batch]
    if len(set(digests)) < len(digests):
        raise OptionError("the batch holds a sample twice; a transcript takes each once")
    if transcript.header.suspect != suspect.identity():
        raise EvidenceError(f"the transcript {transcript.path} is about another suspect")
    require_samples(transcript, digests)
    start = len(transcript.answers)
    stop = len(batch) if most is None else min(len(batch), start + most)
    for group in groups(batch[start:stop], suspect.group_size):
        answers = suspect.answers(group)
        for place, label in enumerate(answers.labels):
            scores = answers.probabilities
            transcript.append(
                Answered(
                    input=digests[len(transcript.answers)],
                    label=label,
                    probabilities=None if scores is None else probabilities_digest(scores[place]),
                )
            )
    return tuple(answered.label for answered in transcript.answers)


def require_samples(transcript: Transcript, digests: Sequence[str]) -> None:
    """Refuse a transcript about other samples, or about them in another order.

    Args:
        transcript: what was answered so far.
        digests: of all samples that it may be about, in their order.

    Raises:
        EvidenceError: it is.
    """
    if len(transcript.answers) > len(digests):
        raise EvidenceError(
            f"the transcript {transcript.path} holds {len(transcript.answers)} answers, the batch "
            f"only {len(digests)} samples"
        )
    for place, answered in enumerate(transcript.answers):
        if answered.input != digests[place]:
            raise EvidenceError(
                f"the transcript {transcript.path}: answer {place} is to another sample than the "
                "batch has there; it is about another key, or the order was changed"
            )


def require_answering(suspect: Suspect, sample: Tensor) -> None:
    """Ask about one sample that counts for nothing, so that a wrong configuration burns no trigger.

    Args:
        suspect: the suspect.
        sample: a canonical batch of one sample that is no trigger.

    Raises:
        OptionError: as `Suspect.answers`.
        SuspectError: as `Suspect.answers`; or the suspect refuses the sample.
    """
    if suspect.labels(sample)[0] is None:
        why = getattr(suspect, "last_refusal", None) or "its scores hold NaN"
        raise SuspectError(
            f"{suspect.label} refuses a plain sample ({why}); check the form of requests and the "
            "preparation before any trigger is asked"
        )
