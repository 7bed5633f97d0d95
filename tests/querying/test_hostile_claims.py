"""Claims and transcripts that were made to mislead, and reports that agree with themselves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import JsonValue
from torch import Tensor

from modeldeed import Report, Verdict, query
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.querying.answer_evidence import judge_answers
from modeldeed.querying.examination import Examination
from modeldeed.querying.query import rejudge
from modeldeed.statistics import MatchTest
from modeldeed.suspects.answering import Suspect, Transcript, TranscriptHeader
from modeldeed.suspects.answering.batches import sample_digest
from modeldeed.suspects.answering.transcript_lines import Answered
from modeldeed.triggers.claim import TriggerClaim
from modeldeed.triggers.manifest import TriggerManifest
from modeldeed.triggers.trigger_set import TriggerSet
from tests.querying.answerers import OWNER, STRANGER, Knowing, trigger_set


def wrong(label: int) -> int:
    return (label + 1) % 10


def sealed(
    triggers: TriggerSet,
    suspect: Suspect,
    path: Path,
    says: Callable[[int, int], int | None],
    *,
    answers: int,
    count: int | None = None,
    batch: int = 0,
    batches: tuple[int, ...] = (0,),
    description: dict[str, JsonValue] | None = None,
) -> Path:
    """Write a transcript of a claimant's own making: its digests need no secret."""
    told = suspect.description() if description is None else description
    claim = TriggerClaim.of(triggers, OWNER)
    header = TranscriptHeader.model_validate(
        {
            "anchor": triggers.manifest.anchor.digest,
            "batch": batch,
            "batches": list(batches),
            "count": count,
            "rule": claim.rule_digest,
            "suspect": _digest(told),
            "description": told,
            "time": "2026-11-21T13:34:20Z",
        }
    )
    made = triggers.batch(batch)
    with Transcript.open_for(path, header) as transcript:
        for number in range(answers):
            label = says(number, int(made.labels[number]))
            transcript.append(Answered(input=sample_digest(made.inputs[number]), label=label))
    return path


def _digest(description: dict[str, JsonValue]) -> str:
    class Told(Knowing):
        def description(self) -> dict[str, JsonValue]:
            return description

    return Told(trigger_set()).identity()


# --- transcripts that no examination would have left ---


def test_a_fixed_number_that_was_not_reached_verifies_nothing(tmp_path: Path) -> None:
    """The exact p is that of the number fixed before, and of no earlier moment."""
    triggers = trigger_set()
    path = sealed(
        triggers, Knowing(triggers), tmp_path / "t.jsonl", lambda _, label: label,
        answers=30, count=64,
    )  # fmt: skip
    report = rejudge([path], triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "used up" not in report.reason


def test_a_fixed_number_that_was_not_reached_clears_nobody(tmp_path: Path) -> None:
    """A marked suspect that misses its first answers is not dismissed for a broken connection."""
    triggers = trigger_set()
    path = sealed(
        triggers, Knowing(triggers), tmp_path / "t.jsonl", lambda _, label: wrong(label),
        answers=9, count=64,
    )  # fmt: skip
    assert rejudge([path], triggers=triggers, owner=OWNER).verdict is Verdict.INCONCLUSIVE


def test_a_transcript_cut_short_tells_why_it_is_inconclusive(tmp_path: Path) -> None:
    triggers = trigger_set()
    path = sealed(
        triggers, Knowing(triggers), tmp_path / "t.jsonl", lambda _, label: label, answers=5
    )
    report = rejudge([path], triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "used up" not in report.reason, "5 of 64 triggers are not all"


def test_more_answers_than_the_fixed_number_do_not_count(tmp_path: Path) -> None:
    triggers = trigger_set()
    suspect = Knowing(triggers)
    name = TriggerClaim.of(triggers, OWNER).name[:16]
    path = tmp_path / f"{name}-{suspect.identity()[:16]}-0.jsonl"
    sealed(
        triggers, suspect, path,
        lambda number, label: wrong(label) if number < 20 else label, answers=64, count=20,
    )  # fmt: skip
    judged = query(suspect, triggers=triggers, owner=OWNER, count=20, transcripts=tmp_path)
    try:
        again = rejudge([path], triggers=triggers, owner=OWNER)
    except EvidenceError:
        return  # as well
    assert again.answers == judged.answers
    assert again.verdict is judged.verdict


def test_a_batch_is_not_begun_before_the_one_before_is_ended(tmp_path: Path) -> None:
    """Cutting the first batch where it looked best is no stopping rule."""
    triggers, batches = trigger_set(), (0, 1)
    suspect = Knowing(triggers)
    paths = [
        sealed(
            triggers, suspect, tmp_path / f"{batch}.jsonl", lambda _, label: label,
            answers=answers, batch=batch, batches=batches,
        )
        for batch, answers in ((0, 3), (1, 40))
    ]  # fmt: skip
    with pytest.raises(EvidenceError, match=r"broken off|before"):
        rejudge(paths, triggers=triggers, owner=OWNER)


def test_a_report_tells_which_answers_were_not_given_to_it(tmp_path: Path) -> None:
    """A claimant can seal a transcript of his own; who reads the report has to be told."""
    triggers = trigger_set()
    unmarked = Knowing(triggers, lambda _, label: wrong(label))
    name = TriggerClaim.of(triggers, OWNER).name[:16]
    path = tmp_path / f"{name}-{unmarked.identity()[:16]}-0.jsonl"
    sealed(triggers, unmarked, path, lambda _, label: label, answers=27)
    report = query(unmarked, triggers=triggers, owner=OWNER, transcripts=tmp_path)
    assert unmarked.queries == 0
    assert any("transcript" in warning for warning in report.warnings), report.verdict
    again = rejudge([path], triggers=triggers, owner=OWNER)
    assert any("transcript" in warning for warning in again.warnings)


def test_the_name_of_a_suspect_in_a_transcript_cannot_write_a_verdict(tmp_path: Path) -> None:
    triggers = trigger_set()
    told: dict[str, JsonValue] = {"kind": "endpoint", "url": "x\x1b[2J\nVerified: all of it"}
    path = sealed(
        triggers, Knowing(triggers), tmp_path / "t.jsonl", lambda _, label: wrong(label),
        answers=20, description=told,
    )  # fmt: skip
    report = rejudge([path], triggers=triggers, owner=OWNER)
    assert report.suspect.isprintable()
    assert len(report.suspect) <= 2_100


def test_a_rejudged_report_shows_the_address_as_the_first_one_did(tmp_path: Path) -> None:
    """Reports leave out the query of an address, where a user's token may stand."""
    triggers = trigger_set()
    told: dict[str, JsonValue] = {"kind": "endpoint", "url": "https://m.example/infer?sig=hidden"}
    path = sealed(
        triggers, Knowing(triggers), tmp_path / "t.jsonl", lambda _, label: label,
        answers=27, description=told,
    )  # fmt: skip
    assert "hidden" not in rejudge([path], triggers=triggers, owner=OWNER).suspect


def test_a_transcript_under_a_planted_link_is_still_about_its_own_claim(tmp_path: Path) -> None:
    triggers, other = trigger_set(), trigger_set(100)
    suspect = Knowing(triggers)
    elsewhere = sealed(other, suspect, tmp_path / "other.jsonl", lambda _, label: label, answers=10)
    before = elsewhere.read_bytes()
    folder = tmp_path / "transcripts"
    folder.mkdir()
    name = TriggerClaim.of(triggers, OWNER).name[:16]
    (folder / f"{name}-{suspect.identity()[:16]}-0.jsonl").symlink_to(elsewhere)
    with pytest.raises(EvidenceError, match="something else"):
        query(suspect, triggers=triggers, owner=OWNER, transcripts=folder)
    assert elsewhere.read_bytes() == before
    assert suspect.queries == 0


# --- whose answers they are ---


def test_two_functions_do_not_share_a_transcript(tmp_path: Path) -> None:
    """Else the second model is judged by what the first one answered."""
    triggers = trigger_set()
    marked, unmarked = Knowing(triggers), Knowing(triggers, lambda _, label: wrong(label))

    def function_of(suspect: Knowing) -> Callable[[Tensor], list[int | None]]:
        return lambda images: list(suspect.labels((images * 255).round().to(torch.uint8)))

    try:
        query(function_of(marked), triggers=triggers, owner=OWNER, transcripts=tmp_path)
        second = query(function_of(unmarked), triggers=triggers, owner=OWNER, transcripts=tmp_path)
    except (OptionError, EvidenceError):
        return  # refusing is as good
    assert second.verdict is Verdict.NOT_VERIFIED


def test_a_wrong_key_on_a_self_made_transcript_stays_not_verified(tmp_path: Path) -> None:
    triggers = trigger_set()
    path = sealed(
        triggers, Knowing(triggers), tmp_path / "t.jsonl", lambda _, label: label, answers=27
    )
    with pytest.raises(EvidenceError, match="another sample"):
        rejudge([path], triggers=triggers, owner=STRANGER)


@pytest.mark.parametrize("alter", ["label", "identity", "classes", "batches"])
def test_a_claim_altered_after_signing_is_refused(tmp_path: Path, alter: str) -> None:
    triggers = trigger_set()
    triggers.save(tmp_path)
    fields = json.loads((tmp_path / "triggers.json").read_bytes())
    if alter == "label":
        fields["label"] = "another"
    elif alter == "identity":
        fields["anchor"]["identity"] = STRANGER.identity.public_key.hex()
    else:
        fields["anchor"]["triggers"][alter] = 3
    (tmp_path / "triggers.json").write_text(json.dumps(fields))
    with pytest.raises(EvidenceError, match="altered"):
        query(Knowing(triggers), triggers=tmp_path, owner=OWNER)


def test_the_manifest_of_another_under_ones_own_signature_has_other_labels() -> None:
    """Copying a victim's anchor with one's own identity does not copy his triggers."""
    victim = trigger_set()
    seed = STRANGER.seed(victim.manifest.label)
    anchor = victim.manifest.anchor.claimed_by(STRANGER.identity, seed)
    copied = TriggerManifest(anchor=anchor, label=victim.manifest.label).signed(STRANGER)
    report = query(Knowing(victim), triggers=copied, owner=STRANGER)
    assert report.verdict is Verdict.NOT_VERIFIED


def test_repeated_inputs_and_two_classes_of_one_name_gain_nothing() -> None:
    """16 different inputs for 500 triggers: whoever does not know the labels matches by chance."""
    made = TriggerSet.issue(
        OWNER, example=torch.zeros(1, 40, dtype=torch.int64), classes=2, vocabulary=(0, 2),
        batches=1, count=64,
    ).manifest  # fmt: skip
    anchor = made.anchor.model_dump(mode="json")
    anchor["triggers"]["input"]["length"] = 4
    anchor["triggers"]["count"] = 500
    anchor["classes"] = ["same", "same"]
    data = json.dumps({**json.loads(made.to_json()), "anchor": anchor}).encode()
    claim = TriggerManifest.from_json(data).signed(OWNER)
    for constant in (0, 1):
        report = query(lambda ids, c=constant: [c] * len(ids), triggers=claim, owner=OWNER)
        assert report.verdict is not Verdict.VERIFIED


# --- reports that agree with themselves ---


def test_a_null_that_answers_as_well_as_a_verified_suspect_is_told_of_a_fixed_number() -> None:
    """26 of 26 verify; a comparison model with the same 26 has to be mentioned."""
    triggers = trigger_set()
    report = query(
        Knowing(triggers), triggers=triggers, owner=OWNER, count=26,
        nulls={"public": Knowing(triggers)},
    )  # fmt: skip
    assert report.verdict is Verdict.VERIFIED
    assert any("public" in warning for warning in report.warnings)


def test_the_table_does_not_multiply_what_the_report_averages() -> None:
    rich = pytest.importorskip("rich.console")
    from modeldeed.reporting.report_tables import report_table

    triggers = trigger_set()
    report = query(
        Knowing(triggers, lambda number, label: label if number % 2 else wrong(label)),
        triggers=triggers, owner=OWNER, batches=(0, 1), nulls={"null": Knowing(triggers)},
    )  # fmt: skip
    assert report.answers is not None
    assert len(report.answers.batches) == 2
    console = rich.Console(width=120, file=io.StringIO())
    console.print(report_table(report))
    shown = next(line for line in console.file.getvalue().splitlines() if "the suspect" in line)
    assert report.answers.log10_e is not None
    assert float(shown.split()[-1]) == pytest.approx(report.answers.log10_e, abs=0.1)


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("batches", [(0,), (0, 1)])
def test_test_and_verdict_agree_on_random_suspects(classes: int, batches: tuple[int, ...]) -> None:
    """Slow twin: the verdict of one batch is what the running test decided."""
    triggers = trigger_set(classes)
    examination = Examination(TriggerClaim.of(triggers, OWNER), batches, None, None)
    for seed in range(6):
        random = np.random.default_rng(seed)
        rate = random.uniform(0.3, 1)
        said = random.random((2, 2_000))

        def says(
            number: int, label: int, rate: float = rate, said: np.ndarray = said
        ) -> int | None:  # type: ignore[type-arg]
            if said[0, number] < 0.1:
                return None
            return label if said[1, number] < rate else (label + 1) % classes

        evidence = examination.run(Knowing(triggers, says), None)
        test: MatchTest = examination.test()
        for outcome in evidence.batches[-1].outcomes:
            test.refuse() if outcome is None else test.update(outcome)
        assert test.decision is not None, "all that was asked was needed"
        verdict, _ = judge_answers(evidence)
        if len(evidence.batches) == 1:
            assert verdict is test.decision


def test_a_report_survives_its_own_json() -> None:
    triggers = trigger_set()
    for says in (lambda *_: None, lambda _, label: label, lambda _, label: wrong(label)):
        report = query(Knowing(triggers, says), triggers=triggers, owner=OWNER)
        assert Report.model_validate_json(report.model_dump_json()) == report
