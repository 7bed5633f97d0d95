"""One examination: which questions are asked, in which order, and where the answers are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.querying.answer_claim import AnswerClaim, Questions
from modeldeed.querying.answer_evidence import answer_evidence, batch_answers, null_answers
from modeldeed.querying.asking import (
    Asked,
    Progress,
    ask_all,
    ask_sequentially,
    recorded_outcomes,
)
from modeldeed.results import AnswerEvidence, BatchAnswers, NullAnswers, Verdict
from modeldeed.statistics import BLACK_BOX, Budget, MatchTest
from modeldeed.suspects.answering import (
    Suspect,
    Transcript,
    TranscriptHeader,
    require_answering,
)

__all__ = ["Examination"]


@dataclass(frozen=True)
class Examination:
    """What is fixed before the first question.

    Attributes:
        claim: whose questions.
        batches: numbers of those that are to be used.
        count: queries of a fixed number; None stops when the evidence decides.
        progress: told after every group of answers.
        budget: what the claim pays, apart from using several batches.
    """

    claim: AnswerClaim
    batches: tuple[int, ...]
    count: int | None
    progress: Progress | None
    budget: Budget = BLACK_BOX

    def __post_init__(self) -> None:
        rule, chosen, count = self.claim.rule, self.batches, self.count
        if not chosen or len(set(chosen)) < len(chosen):
            raise OptionError(f"batches are different numbers, at least one; got {list(chosen)}")
        if not all(0 <= number < rule.batches for number in chosen):
            raise OptionError(f"there are the batches 0 … {rule.batches - 1}, got {list(chosen)}")
        if count is not None and len(chosen) > 1:
            raise OptionError("a fixed number of queries is asked of one batch; give one")
        if count is not None and not 1 <= count <= rule.count:
            raise OptionError(
                f"a batch has {rule.count} questions; count must be 1 … that, got {count}"
            )

    def test(self) -> MatchTest:
        """A new test of one batch."""
        # One batch that reaches this closes the mean of all batches as well.
        budget = replace(self.budget, readings=len(self.batches))
        rule = self.claim.rule
        return MatchTest(rule.classes, budget, planned=rule.count)

    def run(self, suspect: Suspect, folder: Path | None) -> AnswerEvidence:
        """Ask batch after batch until the evidence decides."""
        require_answering(suspect, self.claim.blank())
        found = []
        for number in self.batches:
            batch = self.claim.batch(number)
            with self._kept(folder, number, suspect) as transcript:
                asked, decided = self._ask(suspect, batch, transcript)
            found.append(batch_answers(number, asked, self.claim.rule.classes, self._planned))
            if decided:
                break
        return self._evidence(found)

    def _ask(
        self, suspect: Suspect, batch: Questions, transcript: Transcript | None
    ) -> tuple[Asked, bool]:
        if self.count is not None:
            return ask_all(
                suspect, batch, self.claim.rule.classes, self.count, transcript, self.progress
            ), False
        test = self.test()
        asked = ask_sequentially(suspect, batch, test, transcript, self.progress)
        return asked, test.decision is Verdict.VERIFIED

    def run_recorded(self, transcripts: Sequence[Transcript]) -> AnswerEvidence:
        """What transcripts amount to."""
        found = []
        for place, transcript in enumerate(transcripts, 1):
            number = transcript.header.batch
            test = self.test() if self.count is None else None
            asked = recorded_outcomes(
                transcript, self.claim.batch(number), self.claim.rule.classes, test, self.count
            )
            found.append(batch_answers(number, asked, self.claim.rule.classes, self._planned))
            if place == len(transcripts):
                break
            if not self._passed_on(transcript):
                raise EvidenceError(
                    f"{transcript.path}: this batch was broken off or decided, and yet another "
                    "one was begun after it; no examination leaves such transcripts"
                )
            if test is not None and test.decision is Verdict.VERIFIED:
                break
        return self._evidence(found)

    def _passed_on(self, transcript: Transcript) -> bool:
        """Whether an examination begins the next batch after this one.

        Whoever examined may not have trusted the anchor's authority, and have gone on where this
        judge's evidence is complete.
        """
        if self.count is not None:
            return False
        batch, classes = self.claim.batch(transcript.header.batch), self.claim.rule.classes
        tests = [self.test(), replace(self, budget=BLACK_BOX).test()]
        for test in tests:
            recorded_outcomes(transcript, batch, classes, test)
        return any(test.decision not in (None, Verdict.VERIFIED) for test in tests)

    def of_null(self, name: str, null: Suspect, evidence: AnswerEvidence) -> NullAnswers:
        """Ask another model what the suspect was asked."""
        outcomes: list[bool | None] = []
        classes = self.claim.rule.classes
        for batch in evidence.batches:
            questions = self.claim.batch(batch.batch)
            outcomes += ask_all(null, questions, classes, len(batch.outcomes)).outcomes
        return null_answers(name, outcomes, classes)

    @property
    def _planned(self) -> int:
        return self.count or self.claim.rule.count

    def _evidence(self, found: list[BatchAnswers]) -> AnswerEvidence:
        return answer_evidence(
            found,
            family=self.claim.family,
            classes=self.claim.rule.classes,
            planned_batches=len(self.batches),
            budget=self.budget,
            fixed=self.count is not None,
        )

    def _stem(self, suspect: Suspect) -> str:
        """How the names of this claim's and suspect's transcripts begin."""
        return f"{self.claim.name[:16]}-{suspect.identity()[:16]}-"

    def recorded(self, suspect: Suspect, folder: Path) -> int:
        """How many answers stand in transcripts already; they will not be asked again."""
        paths = [folder / f"{self._stem(suspect)}{number}.jsonl" for number in self.batches]
        return sum(len(Transcript.read(path).answers) for path in paths if path.exists())

    @contextmanager
    def _kept(
        self, folder: Path | None, number: int, suspect: Suspect
    ) -> Iterator[Transcript | None]:
        """The one transcript of this claim, batch and suspect."""
        if folder is None:
            yield None
            return
        who, stem = suspect.identity(), self._stem(suspect)
        header = TranscriptHeader(
            anchor=self.claim.manifest.anchor.digest,
            batch=number,
            batches=list(self.batches),
            count=self.count,
            rule=self.claim.rule_digest,
            suspect=who,
            description=suspect.description(),
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._require_first_attempt(folder, stem)
        with Transcript.open_for(folder / f"{stem}{number}.jsonl", header) as transcript:
            yield transcript

    def _require_first_attempt(self, folder: Path, stem: str) -> None:
        own = {f"{stem}{number}.jsonl" for number in self.batches}
        for path in sorted(folder.glob(f"{stem}*.jsonl")):
            if path.name not in own:
                raise EvidenceError(
                    f"{path}: this suspect was examined for this claim already, with the batches "
                    f"{Transcript.read(path).header.batches}; that examination stands, and others "
                    "after it would be a choice of the best"
                )
