"""What the judge did, step by step."""

from __future__ import annotations

from modeldeed.resolving.results import STEPS, Step, StepStatus

__all__ = ["StepLog"]


class StepLog:
    """A record of the twenty steps; every step stands in it, taken or not.

    Example:
        >>> log = StepLog()
        >>> log.done(1, "SHA-256 00…")
        >>> len(log.steps()), log.steps()[1].status.value
        (20, 'skipped')
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def done(self, number: int, note: str, claim: str | None = None) -> None:
        """A step was taken."""
        self._add(number, StepStatus.DONE, note, claim)

    def failed(self, number: int, note: str, claim: str | None = None) -> None:
        """A step was taken, and what it asks for does not hold."""
        self._add(number, StepStatus.FAILED, note, claim)

    def skipped(self, number: int, note: str, claim: str | None = None) -> None:
        """A step was not needed."""
        self._add(number, StepStatus.SKIPPED, note, claim)

    def unavailable(self, number: int, note: str, claim: str | None = None) -> None:
        """A step could not be taken."""
        self._add(number, StepStatus.UNAVAILABLE, note, claim)

    def steps(self) -> tuple[Step, ...]:
        """All steps by number and claim, whatever order they were recorded in."""
        taken = {step.number for step in self._steps}
        missing = [
            Step(number=n, title=title, status=StepStatus.SKIPPED, note="nothing came this far")
            for n, title in enumerate(STEPS, 1)
            if n not in taken
        ]
        # Notes of one step and claim keep the order in which they were made.
        return tuple(
            sorted(self._steps + missing, key=lambda step: (step.number, step.claim or ""))
        )

    def _add(self, number: int, status: StepStatus, note: str, claim: str | None) -> None:
        step = Step(number=number, title=STEPS[number - 1], claim=claim, status=status, note=note)
        self._steps.append(step)
