"""The black-box proof from the suspect to the verdict."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from modeldeed import Passport, Report, Verdict, query, verify
from modeldeed.errors import EvidenceError, OptionError, SuspectError
from modeldeed.models import resnet_small
from modeldeed.querying.asking import least_further
from modeldeed.querying.query import rejudge
from modeldeed.statistics import BLACK_BOX, MatchTest, information_limit, log_binomial_tail
from tests.querying.answerers import IMAGE, OWNER, STRANGER, Knowing, trigger_set


def wrong(label: int, classes: int = 10) -> int:
    return (label + 1) % classes


def test_a_marked_model_is_verified_in_27_answers_of_10_classes() -> None:
    triggers = trigger_set()
    suspect = Knowing(triggers)
    report = query(suspect, triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.VERIFIED
    assert report.answers is not None
    assert (report.answers.queries, report.answers.matches) == (27, 27)
    assert suspect.queries == 27, "no answer was asked for that the test does not use"
    assert report.answers.queries <= 1.3 * information_limit(10, BLACK_BOX)
    assert report.answers.log10_e is not None
    assert report.answers.log10_e >= report.answers.threshold_log10 > 25


@pytest.mark.parametrize(("classes", "queries"), [(2, 90), (100, 14), (1000, 9)])
def test_more_classes_need_fewer_answers(classes: int, queries: int) -> None:
    triggers = trigger_set(classes)
    report = query(Knowing(triggers), triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.VERIFIED
    assert report.answers is not None
    assert report.answers.queries == queries


def test_a_model_that_knows_nothing_is_not_verified() -> None:
    triggers = trigger_set()
    report = query(Knowing(triggers, lambda _, label: wrong(label)), triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "0 of 13" in report.reason


def test_a_key_of_another_owner_never_verifies() -> None:
    """Not even if the suspect answers everything that key's triggers ask for."""
    triggers = trigger_set()
    stranger = trigger_set(owner=STRANGER)
    report = query(Knowing(triggers), triggers=triggers, owner=STRANGER)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "the key is not this claim's" in report.reason
    obliging = Knowing(stranger)
    assert query(obliging, triggers=stranger, owner=STRANGER).verdict is Verdict.VERIFIED
    assert query(obliging, triggers=triggers, owner=STRANGER).verdict is Verdict.NOT_VERIFIED


def test_a_weakened_mark_is_found() -> None:
    triggers = trigger_set()

    def at_three_quarters(number: int, label: int) -> int:
        return wrong(label) if number % 4 == 3 else label

    report = query(Knowing(triggers, at_three_quarters), triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.VERIFIED
    assert report.answers is not None
    assert 27 < report.answers.queries <= 64
    assert report.answers.rate_low < 0.75 < report.answers.rate_high


def test_too_many_refusals_decide_nothing() -> None:
    triggers = trigger_set()
    report = query(Knowing(triggers, lambda *_: None), triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "refused" in report.reason
    some = Knowing(triggers, lambda number, label: None if number % 8 == 0 else label)
    report = query(some, triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.VERIFIED
    assert any("refused questions" in warning for warning in report.warnings)


def test_an_answer_outside_the_classes_is_a_mismatch() -> None:
    triggers = trigger_set()
    report = query(Knowing(triggers, lambda *_: 4321), triggers=triggers, owner=OWNER)
    assert report.verdict is Verdict.NOT_VERIFIED


# --- transcripts ---


def test_a_second_run_asks_nobody(tmp_path: Path) -> None:
    """A claimant who starts over finds his first transcript: restarting is not possible."""
    triggers = trigger_set()
    first = query(
        Knowing(triggers, lambda _, label: wrong(label)),
        triggers=triggers,
        owner=OWNER,
        transcripts=tmp_path,
    )
    changed_mind = Knowing(triggers)  # the same endpoint, which by now answers as wished
    again = query(changed_mind, triggers=triggers, owner=OWNER, transcripts=tmp_path)
    assert changed_mind.queries == 0
    assert again.verdict is first.verdict is Verdict.NOT_VERIFIED
    assert again.answers == first.answers


def test_a_broken_off_examination_goes_on_where_it_stopped(tmp_path: Path) -> None:
    triggers = trigger_set()
    failing = Knowing(triggers, breaks_after=13)
    with pytest.raises(SuspectError, match="is gone"):
        query(failing, triggers=triggers, owner=OWNER, transcripts=tmp_path)
    back = Knowing(triggers)
    report = query(back, triggers=triggers, owner=OWNER, transcripts=tmp_path)
    assert report.verdict is Verdict.VERIFIED
    assert back.queries == 27 - 13
    assert not set(back.seen) & set(failing.seen)


def test_a_transcript_is_judged_again_without_the_suspect(tmp_path: Path) -> None:
    triggers = trigger_set()
    report = query(Knowing(triggers), triggers=triggers, owner=OWNER, transcripts=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    again = rejudge([path], triggers=triggers, owner=OWNER)
    assert again.answers == report.answers
    assert again.verdict is report.verdict
    assert again.suspect_digest == report.suspect_digest
    with pytest.raises(EvidenceError, match="another claim"):
        rejudge([path], triggers=trigger_set(100), owner=OWNER)
    with pytest.raises(OptionError, match="no transcript"):
        rejudge([], triggers=triggers, owner=OWNER)
    with pytest.raises(EvidenceError, match="give all that were begun"):
        rejudge([path, path], triggers=triggers, owner=OWNER)


def test_another_batch_after_the_first_is_a_choice_of_the_best(tmp_path: Path) -> None:
    """Neither alone, nor together with the one that disappointed, nor as a fixed number."""
    triggers = trigger_set(batches=3)
    suspect = Knowing(triggers, lambda _, label: wrong(label))
    claim = {"triggers": triggers, "owner": OWNER, "transcripts": tmp_path}
    first = query(suspect, **claim)
    asked = suspect.queries
    for options in ({"batches": (1,)}, {"batches": (0, 1)}, {"count": 30}):
        with pytest.raises(EvidenceError, match=r"examined for this claim already|something else"):
            query(suspect, **claim, **options)
    assert suspect.queries == asked
    assert query(suspect, **claim).answers == first.answers


def test_batches_of_a_plan_are_judged_together(tmp_path: Path) -> None:
    triggers = trigger_set(batches=3)
    suspect = Knowing(triggers, lambda number, label: label if number % 2 else wrong(label))
    claim = {"triggers": triggers, "owner": OWNER}
    report = query(suspect, **claim, transcripts=tmp_path, batches=(2, 0))
    assert report.answers is not None
    two, zero = (next(tmp_path.glob(f"*-{n}.jsonl")) for n in (2, 0))
    assert rejudge([two, zero], **claim).answers == report.answers
    for wrong_choice in ([zero], [zero, two]):
        with pytest.raises(EvidenceError, match="give all that were begun"):
            rejudge(wrong_choice, **claim)


def test_a_transcript_of_one_key_is_not_judged_under_another(tmp_path: Path) -> None:
    triggers = trigger_set()
    query(Knowing(triggers), triggers=triggers, owner=OWNER, transcripts=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    with pytest.raises(EvidenceError, match="about another key"):
        rejudge([path], triggers=triggers, owner=STRANGER)


def test_a_transcript_holds_no_labels_before_they_are_answered(tmp_path: Path) -> None:
    triggers = trigger_set()
    query(Knowing(triggers, lambda *_: 0), triggers=triggers, owner=OWNER, transcripts=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    answers = path.read_text().splitlines()[1:]
    assert answers
    assert all('"label":0' in line for line in answers)


# --- batches, numbers, comparison ---


def test_batches_pay_for_each_other() -> None:
    triggers = trigger_set()
    report = query(Knowing(triggers), triggers=triggers, owner=OWNER, batches=(0, 1))
    assert report.verdict is Verdict.VERIFIED
    assert report.answers is not None
    assert 27 <= report.answers.queries <= 28, "a second batch in reserve costs a bit"
    assert len(report.answers.batches) == 1
    alone, both = report.answers.batches[0].log10_e, report.answers.log10_e
    assert both == pytest.approx(alone - math.log10(2), abs=1e-9)

    def second_only(number: int, label: int) -> int:
        return label

    first = {s.numpy().tobytes() for s in triggers.batch(0).inputs}
    forgetful = Knowing(triggers, second_only)
    forgetful._known = {
        data: (place, label if data not in first else wrong(label))
        for data, (place, label) in forgetful._known.items()
    }
    report = query(forgetful, triggers=triggers, owner=OWNER, batches=(0, 1))
    assert report.answers is not None
    assert len(report.answers.batches) == 2
    assert report.verdict is Verdict.VERIFIED, "the mean of e-values of 1e-9 and 1e26"


def test_a_fixed_number_gives_the_exact_p() -> None:
    triggers = trigger_set()
    report = query(
        Knowing(triggers, lambda n, label: label if n < 30 else wrong(label)),
        triggers=triggers,
        owner=OWNER,
        count=40,
    )
    assert report.answers is not None
    assert (report.answers.test, report.answers.queries) == ("fixed", 40)
    expected = log_binomial_tail(30, 40, 0.1) / math.log(10)
    assert report.answers.log10_p == pytest.approx(expected)
    assert report.answers.log10_e is None
    assert report.verdict is Verdict.INCONCLUSIVE
    perfect = query(Knowing(triggers), triggers=triggers, owner=OWNER, count=26)
    assert perfect.verdict is Verdict.VERIFIED
    assert query(Knowing(triggers), triggers=triggers, owner=OWNER, count=25).verdict is (
        Verdict.INCONCLUSIVE
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batches": ()}, "at least one"),
        ({"batches": (0, 0)}, "different"),
        ({"batches": (2,)}, r"0 … 1"),
        ({"batches": (0, 1), "count": 10}, "of one batch"),
        ({"count": 0}, "must be 1"),
        ({"count": 65}, "64 questions"),
    ],
)
def test_options_out_of_range(options: dict[str, object], words: str) -> None:
    triggers = trigger_set()
    suspect = Knowing(triggers)
    with pytest.raises(OptionError, match=words):
        query(suspect, triggers=triggers, owner=OWNER, **options)  # type: ignore[arg-type]
    assert suspect.queries == 0


def test_null_models_are_asked_the_same_and_decide_nothing() -> None:
    triggers = trigger_set()
    null = Knowing(triggers, lambda _, label: wrong(label), name="null")
    twin = Knowing(triggers, name="twin")
    suspect = Knowing(triggers)
    report = query(suspect, triggers=triggers, owner=OWNER, nulls={"other": null, "twin": twin})
    assert report.answers is not None
    assert [(n.model, n.queries, n.matches) for n in report.answers.nulls] == [
        ("other", 27, 0),
        ("twin", 27, 27),
    ]
    assert null.seen == suspect.seen
    assert report.verdict is Verdict.VERIFIED
    assert any("twin" in warning for warning in report.warnings)


def test_the_next_question_is_the_least_that_can_decide() -> None:
    """Against a twin that tries all continuations of matches, misses and refusals alone."""
    for matches in (0, 5, 14, 20):
        test = MatchTest(10)
        for _ in range(matches):
            test.update(True)
        steps = least_further(test)
        for outcome in (True, False, None):
            other = MatchTest(10)
            for _ in range(matches):
                other.update(True)
            for _ in range(steps - 1):
                other.refuse() if outcome is None else other.update(outcome)
            assert other.decision is None
        ends = []
        for outcome in (True, False, None):
            other = MatchTest(10)
            for _ in range(matches):
                other.update(True)
            for _ in range(steps):
                if other.decision is None:
                    other.refuse() if outcome is None else other.update(outcome)
            ends.append(other.decision is not None)
        assert any(ends)


def test_an_endpoint_learns_nothing_from_the_size_of_groups() -> None:
    """Whatever it answers, it is asked alike until it is not asked any more."""
    triggers = trigger_set()
    seen = []
    for says in (lambda _, label: label, lambda _, label: wrong(label), lambda *_: None):
        suspect = Knowing(triggers, says, group_size=4)
        suspect.sees_groups = True
        report = query(suspect, triggers=triggers, owner=OWNER)
        seen.append(suspect.groups)
    assert all(set(groups[1:]) == {4} for groups in seen)
    suspect = Knowing(triggers, group_size=4)
    suspect.sees_groups = True
    report = query(suspect, triggers=triggers, owner=OWNER)
    assert report.answers is not None
    assert (report.answers.queries, suspect.queries) == (27, 28)


# --- claims ---


def test_a_trigger_set_is_saved_and_claimed_by_its_folder(tmp_path: Path) -> None:
    triggers = trigger_set()
    triggers.save(tmp_path)
    report = query(Knowing(triggers), triggers=tmp_path, owner=OWNER)
    assert report.verdict is Verdict.VERIFIED
    assert report.anchor_digest == triggers.manifest.anchor.digest
    text = (tmp_path / "triggers.json").read_text()
    (tmp_path / "triggers.json").write_text(text.replace('"classes": 10', '"classes": 11'))
    with pytest.raises(EvidenceError, match="altered"):
        query(Knowing(triggers), triggers=tmp_path, owner=OWNER)


def test_a_passport_without_triggers_cannot_be_claimed_by_answers(tmp_path: Path) -> None:
    host = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.BatchNorm2d(16))
    passport = Passport.issue(host, OWNER, example=IMAGE)
    passport.save(tmp_path)
    with pytest.raises(EvidenceError, match="without triggers"):
        query(Knowing(trigger_set()), triggers=tmp_path, owner=OWNER)
    with pytest.raises(OptionError, match="no folder of a trigger set"):
        query(Knowing(trigger_set()), triggers=tmp_path / "nowhere", owner=OWNER)


def test_verify_asks_what_can_only_be_asked() -> None:
    triggers = trigger_set()
    report = verify(Knowing(triggers), triggers=triggers, owner=OWNER)
    assert report.answers is not None
    assert report.verdict is Verdict.VERIFIED
    with pytest.raises(OptionError, match="one claim"):
        verify(Knowing(triggers), owner=OWNER)
    module = verify(resnet_small(10, 1).eval(), triggers=triggers, owner=OWNER)
    assert module.verdict is Verdict.NOT_VERIFIED
    assert Report.model_validate_json(module.model_dump_json()) == module
