"""Overwriting: whoever attacks embeds a passport of an own with this very tool.

Source:
    The ambiguity attacks of L. Fan, K. W. Ng, C. S. Chan, "Rethinking Deep Neural Network
    Ownership Verification", NeurIPS 2019, and overwriting in N. Lukas et al., S&P 2022; here with
    the tool that the first owner used, once or several times with a new key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, drawn_seed
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.owner import Owner
from modeldeed.passport import Passport
from modeldeed.passport.private.step import TrainingRule
from modeldeed.training import Recipe

__all__ = ["Overwrite", "overwrite"]

_EXAMPLE = 8


def overwrite(
    model: nn.Module,
    inputs: Tensor,
    *,
    times: int,
    steps: int,
    margin: float,
    batch_size: int,
    generator: torch.Generator,
) -> nn.Module:
    """Embed passports of freshly drawn owners into a copy, one over the other.

    Args:
        model: not changed; it has norms that can carry a passport.
        inputs: unlabelled, shape ``(N, *)``.
        times: how many owners.
        steps: of each embedding.
        margin: that each bit is given, see `TrainingRule`.
        batch_size: inputs in a step.
        generator: of the owners' keys and of the order of inputs, on the CPU.

    Returns:
        The copy in evaluation mode.

    Raises:
        PlanError: nothing in the model can carry a passport.
    """
    changed = copy_of(model)
    wanted = [parameter.requires_grad for parameter in changed.parameters()]
    changed.requires_grad_()
    with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
        torch.manual_seed(drawn_seed(generator))  # dropout draws from the global generator
        for _ in range(times):
            drawn = torch.randint(256, (32,), generator=generator, dtype=torch.uint8)
            owner = Owner(bytes(drawn.tolist()))
            rule = TrainingRule(margin=margin)
            passport = Passport.issue(changed, owner, example=inputs[:_EXAMPLE], training=rule)
            order = torch.randperm(len(inputs), generator=generator).to(inputs.device)
            batches = [inputs[index] for index in torch.split(order, batch_size) if len(index) > 1]
            passport.embed(batches, steps=steps)
    for parameter, trainable in zip(changed.parameters(), wanted, strict=True):
        parameter.requires_grad_(trainable)
        parameter.grad = None
    return changed.eval()


@register("overwrite")
@dataclass(frozen=True, kw_only=True)
class Overwrite(Attack):
    """Embed another passport, or several; see `overwrite`.

    Attributes:
        times: how many, each of a new owner.
        epochs: passes over the inputs for each.
        margin: of its bits, in standard deviations of an unrelated weight.
        batch_size: inputs in a step.
    """

    source: ClassVar[str] = "Fan et al., NeurIPS 2019; Lukas et al., S&P 2022"
    needs: ClassVar[tuple[Need, ...]] = ("inputs",)

    times: int = 1
    epochs: int = 1
    margin: float = 5.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.times < 1 or self.epochs < 1 or self.batch_size < 2:
            raise OptionError(
                "overwriting needs times ≥ 1, epochs ≥ 1 and batch_size ≥ 2, got "
                f"{self.times}, {self.epochs}, {self.batch_size}"
            )

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Once, with twice the margin, three times."""
        own = recipe or Recipe()
        epochs, size = max(1, round(own.epochs / 10)), own.batch_size
        return {
            "once": cls(epochs=epochs, batch_size=size),
            "once, margin 10": cls(epochs=epochs, margin=10.0, batch_size=size),
            "three times": cls(times=3, epochs=epochs, batch_size=size),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A copy with other marks."""
        return overwrite(
            model,
            data.dataset.x_train,
            times=self.times,
            steps=self.steps(data) // self.times,
            margin=self.margin,
            batch_size=self.batch_size,
            generator=generator,
        )

    def steps(self, data: AttackData) -> int:
        """Optimizer steps of all embeddings."""
        return self.times * self.epochs * max(1, len(data.dataset.y_train) // self.batch_size)
