"""Students: networks that learn from scratch what a model answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._learning import TrainingAttack, learn
from modeldeed.attacks.registry import AttackData, Need, Unknown
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Architecture", "Student", "anew", "frozen_teacher", "likeliest", "taught"]

Architecture = Literal["same", "other"]
Lesson = Callable[[Tensor, Tensor], Tensor]
"""From a student's outputs and what the teacher says to a scalar."""


def anew(model: nn.Module) -> nn.Module:
    """A copy with all weights drawn anew by its layers' own rules, from torch's generator."""
    student = copy.deepcopy(model)
    for module in student.modules():
        if isinstance(module, nn.MultiheadAttention):
            module._reset_parameters()
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    return student.requires_grad_()


def frozen_teacher(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """What a model answers in evaluation mode, by a copy: the given one keeps its mode."""
    teacher = copy.deepcopy(model).eval()

    def answers(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = teacher(inputs)
        return outputs

    return answers


def taught(
    student: nn.Module,
    teacher: Callable[[Tensor], Tensor],
    data: AttackData,
    recipe: Recipe,
    lesson: Lesson,
) -> nn.Module:
    """Train a student in place on a teacher's answers; labels are not looked at.

    Args:
        student: untrained.
        teacher: inputs to what is learned of them.
        data: the inputs.
        recipe: how.
        lesson: the loss.

    Returns:
        The student in evaluation mode.
    """
    return learn(student, data, recipe, lambda x, _: lesson(student(x), teacher(x)))


def likeliest(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Learn the likeliest class alone, as an endpoint that returns no scores allows."""
    return F.cross_entropy(outputs, wanted.argmax(1))


@dataclass(frozen=True, kw_only=True)
class Student(TrainingAttack):
    """A training from scratch on a model's answers.

    Attributes:
        architecture: ``"same"`` as the model's, or the ``"other"`` that the data hold.
    """

    needs: ClassVar[tuple[Need, ...]] = ("inputs",)
    unknown: ClassVar[tuple[Unknown, ...]] = ("key", "weights", "labels")

    architecture: Architecture = "same"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture not in get_args(Architecture):
            raise OptionError(f"architecture is 'same' or 'other', got {self.architecture!r}")

    def needed(self) -> tuple[Need, ...]:
        """Code of a second network where the student is to be one."""
        other = self.architecture == "other"
        return (*self.needs, "another architecture") if other else self.needs

    def untrained(self, model: nn.Module, data: AttackData, seed: int) -> nn.Module:
        """The student before it learns; torch's generator is left alone.

        Raises:
            OptionError: another architecture is wanted and not given.
        """
        x = data.dataset.x_train
        if self.architecture == "other" and data.other_architecture is None:
            raise OptionError(
                "another architecture is needed: give AttackData(other_architecture=…)"
            )
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.manual_seed(seed)
            if self.architecture == "other" and data.other_architecture is not None:
                return data.other_architecture().to(x.device)
            return anew(model)
