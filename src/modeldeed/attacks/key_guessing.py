"""Turn the bits of guessed keys round by gradients, while the outputs stay.

Whoever attacks has the owner's hinge and everything else but the key. So he draws keys himself and
flips what their passports read, in the hope that the right bits flip along. They do not: passports
of different keys are independent, and a network has room for many.

Source:
    This project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, drawn_seed, weights_of
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks._students import frozen_teacher
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.passport.retrofit.imitation import imitation
from modeldeed.training import Recipe

__all__ = ["GuessKeys", "guess_keys", "readings"]


def readings(weight: Tensor, passports: Tensor) -> Tensor:
    """Read every row under every guess: r = ⟨w, P⟩ / ‖w‖.

    Args:
        weight: shape ``(O, *)``.
        passports: signs, shape ``(G, O, D)``, one row for each guess and output.

    Returns:
        Shape ``(G, O)``; mean 0 and variance 1 over guesses.
    """
    rows = weight.flatten(1)
    lengths = rows.norm(dim=1).clamp_min(1e-12)
    found: Tensor = (passports * rows).sum(-1) / lengths
    return found


def guess_keys(
    model: nn.Module,
    data: AttackData,
    recipe: Recipe,
    *,
    guesses: int,
    margin: float,
    weight: float,
) -> nn.Module:
    """Train a copy to read otherwise under guessed keys, and to answer as before.

    Args:
        model: not changed.
        data: unlabelled inputs.
        recipe: how; its seed is that of the guesses.
        guesses: keys.
        margin: that every bit is asked to have on the other side.
        weight: of the hinge beside the imitation of the model's own outputs.

    Returns:
        The copy in evaluation mode.

    Raises:
        OptionError: an argument is out of range, or there is no layer with a weight.
    """
    if guesses < 1 or margin < 0 or weight < 0:
        raise OptionError(
            f"guesses is at least 1, margin and weight ≥ 0, got {guesses}, {margin}, {weight}"
        )
    changed, generator = copy_of(model), torch.Generator().manual_seed(recipe.seed)
    weights = [found for _, found in weights_of(changed)]
    passports, before = [], []
    for found in weights:
        drawn = torch.randint(0, 2, (guesses, *found.flatten(1).shape), generator=generator)
        passports.append((drawn * 2 - 1).to(found))
        before.append(readings(found.detach(), passports[-1]).sign())
    teacher = frozen_teacher(model)

    def loss(x: Tensor, _: Tensor) -> Tensor:
        hinges = [
            (margin + readings(w, p) * sign).clamp_min(0).flatten()
            for w, p, sign in zip(weights, passports, before, strict=True)
        ]
        return imitation(changed(x), teacher(x)) + weight * torch.cat(hinges).mean()

    return learn(changed, data, recipe, loss)


@register("guess-keys")
@dataclass(frozen=True, kw_only=True)
class GuessKeys(TrainingAttack):
    """Flip the bits of guessed keys; see `guess_keys`.

    Attributes:
        guesses: keys.
        margin: on the other side.
        weight: of the hinge.
    """

    source: ClassVar[str] = "This project"
    needs: ClassVar[tuple[Need, ...]] = ("inputs",)

    guesses: int = 4
    margin: float = 5.0
    weight: float = 1.0

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """One key, four, sixteen."""
        made = partial(scaled, cls, recipe)
        return {"1 key": made(guesses=1), "4 keys": made(guesses=4), "16 keys": made(guesses=16)}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A trained copy; labels are not looked at."""
        recipe = self.recipe(drawn_seed(generator))
        return guess_keys(
            model,
            data,
            recipe,
            guesses=self.guesses,
            margin=self.margin,
            weight=self.weight,
        )
