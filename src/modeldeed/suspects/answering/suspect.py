"""What every suspect that can be asked has in common: answers for a batch."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

from modeldeed.digests import canonical_json
from modeldeed.errors import OptionError, SuspectError
from modeldeed.suspects.answering.batches import kind_of

__all__ = ["Answers", "Suspect", "joined_answers", "labels_of"]

_Self = TypeVar("_Self", bound="Suspect")
_LARGEST = 2**53 - 1  # what a transcript can hold


@dataclass(frozen=True)
class Answers:
    """What a suspect said about a batch.

    Attributes:
        labels: the class of each sample; None where the suspect refused it. A class may lie
            outside those of the claim: then it matches none.
        probabilities: scores ``(N, K)``, floating point, on the CPU, as the suspect gave them:
            perhaps not normalized, perhaps logits; a refused sample's row holds NaN. None when it
            names the best class only.

    Raises:
        OptionError: labels and probabilities are not of the same number.
    """

    labels: tuple[int | None, ...]
    probabilities: Tensor | None = None

    def __post_init__(self) -> None:
        scores = self.probabilities
        if scores is not None and (scores.dim() != 2 or len(scores) != len(self.labels)):
            raise OptionError(f"{len(self.labels)} labels, probabilities {tuple(scores.shape)}")

    @classmethod
    def of(cls, probabilities: Tensor) -> Answers:
        """Answers with labels taken from scores; see `labels_of`.

        Example:
            >>> Answers.of(torch.tensor([[0.1, 0.7], [2.0, 2.0], [float("nan"), 1.0]])).labels
            (1, 0, None)
        """
        return cls(labels_of(probabilities), probabilities)

    def __len__(self) -> int:
        return len(self.labels)


def labels_of(probabilities: Tensor) -> tuple[int | None, ...]:
    """The class with the highest score of each row.

    Args:
        probabilities: any scores ``(N, K)``.

    Returns:
        The lowest index among equals; None for a row that holds NaN.
    """
    # torch.argmax may return any of equal entries; NumPy promises the first.
    scores = probabilities.double().numpy()
    best, unknown = scores.argmax(1).tolist(), np.isnan(scores).any(1).tolist()
    return tuple(None if nan else label for label, nan in zip(best, unknown, strict=True))


def joined_answers(parts: list[Answers], label: str) -> Answers:
    """The answers to consecutive groups as those to one batch.

    Args:
        parts: at least one.
        label: the suspect, for the error.

    Returns:
        All labels; probabilities only if every part has them. A part without a single answer has
        a row of NaN for each of its samples.

    Raises:
        SuspectError: the number of classes differs between parts.
    """
    labels = tuple(answer for part in parts for answer in part.labels)
    widths = {p.probabilities.shape[1] for p in parts if p.probabilities is not None}
    if len(widths) > 1:
        raise SuspectError(
            f"{label} answers with {' and then '.join(map(str, sorted(widths)))} classes; the "
            "number of classes must not change between samples"
        )
    if not widths:
        return Answers(labels)
    rows, (width,) = [], widths
    for part in parts:
        if part.probabilities is not None:
            rows.append(part.probabilities)
        elif any(answer is not None for answer in part.labels):
            return Answers(labels)
        else:
            rows.append(torch.full((len(part), width), torch.nan))
    dtype = next(p.probabilities.dtype for p in parts if p.probabilities is not None)
    return Answers(labels, torch.cat([row.to(dtype) for row in rows]))


class Suspect(ABC):
    """A model that can be asked, wherever it runs.

    Nothing is assumed about the answers, and none is kept: asking twice asks twice.

    Attributes:
        label: how reports call the suspect; printable.
        queries: samples it was asked about so far. Asking again after a failure does not count
            twice.
        attempts: samples sent so far, repetitions included.
        group_size: samples that go to it at once.
        sees_groups: whether whoever answers sees which samples come together. Then the size of
            a group must not depend on what was answered before: it would tell what matched.
        identified: whether its identity tells it from others, as a transcript needs.
    """

    sees_groups: bool = False
    identified: bool = True

    def __init__(self, label: str, group_size: int) -> None:
        if isinstance(group_size, bool) or not isinstance(group_size, int) or group_size < 1:
            raise OptionError(f"samples go in groups of at least 1, got {group_size!r}")
        self.label = label if label.isprintable() else ascii(label)
        self.group_size = group_size
        self.queries = 0
        self.attempts = 0

    @abstractmethod
    def description(self) -> dict[str, JsonValue]:
        """What is asked and how, without any secret and without floats."""

    @abstractmethod
    def _answers(self, batch: Tensor) -> Answers:
        """Answer a canonical batch and count what was asked."""

    def identity(self) -> str:
        """SHA-256 of the description: what names this suspect in a transcript, hexadecimal."""
        return hashlib.sha256(canonical_json(self.description())).hexdigest()

    def answers(self, batch: Tensor) -> Answers:
        """Ask about every sample of a canonical batch.

        Args:
            batch: see `modeldeed.suspects.answering.batches`.

        Returns:
            One answer for each sample, in their order.

        Raises:
            OptionError: the batch is not canonical, or the preparation does not fit it.
            SuspectError: the suspect cannot be reached, fails, or answers what is no answer.
        """
        kind_of(batch)
        answers = self._answers(batch.detach().cpu())
        if len(answers) != len(batch):
            raise SuspectError(
                f"{self.label} gave {len(answers)} answers to {len(batch)} samples; it has to "
                "answer each"
            )
        if any(label is not None and abs(label) > _LARGEST for label in answers.labels):
            raise SuspectError(
                f"{self.label} answers with a class number beyond ±(2**53 - 1); classes are "
                "counted from 0"
            )
        return answers

    def labels(self, batch: Tensor) -> tuple[int | None, ...]:
        """The class of each sample; None where it was refused. Raises as `answers` does."""
        return self.answers(batch).labels

    def probabilities(self, batch: Tensor) -> Tensor:
        """The scores of each sample, ``(N, K)``.

        Raises:
            OptionError: as `answers`.
            SuspectError: as `answers`; or the suspect names the best class only.
        """
        found = self.answers(batch).probabilities
        if found is None:
            raise SuspectError(
                f"{self.label} names the best class only and gives no probabilities; ask for "
                "labels, or have the endpoint's response.kind set to 'probabilities' if it can"
            )
        return found

    def close(self) -> None:  # noqa: B027 - most suspects hold nothing open
        """Give back connections; the suspect is not asked again."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}>"
