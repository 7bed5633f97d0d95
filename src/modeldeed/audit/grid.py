"""Which attacks, at which strengths: the grid, and what is left out of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from modeldeed.attacks import Attack, AttackData, Need, find, names
from modeldeed.audit.records import NOTHING, LeftOut
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Entry", "Strengths", "grid"]

Strengths = Mapping[str, Sequence[str]] | int | None
"""Names of strengths by attack; or at most so many of each; None takes all."""

_GIVEN: dict[Need, str] = {
    "other data": "other_data",
    "another model": "other_model",
    "another architecture": "other_architecture",
}


@dataclass(frozen=True)
class Entry:
    """One cell to be.

    Attributes:
        name: of the attack; ``"none"`` for doing nothing.
        strength: in words.
        attack: None for doing nothing.
        seed: of its random choices.
    """

    name: str
    strength: str
    attack: Attack | None
    seed: int


def grid(
    data: AttackData,
    *,
    attacks: Sequence[str | Attack] | None,
    strengths: Strengths,
    seeds: Sequence[int],
    recipe: Recipe | None,
) -> tuple[list[Entry], list[LeftOut]]:
    """Lay out the grid, the model as it shipped first.

    Args:
        data: what attacks have; those that need more are left out.
        attacks: names, for a choice of the attack's strengths, or attacks made by hand; None takes
            all that are registered.
        strengths: which of each.
        seeds: of every attack.
        recipe: of the model's own training.

    Returns:
        The cells to be, and what is left out with the reason.

    Raises:
        OptionError: an attack or a strength is unknown, or there is no seed.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise OptionError(f"seeds are different numbers from 0 on, at least one; got {seeds}")
    if isinstance(strengths, int) and strengths < 1:
        raise OptionError(f"strengths is at least 1 of each attack, got {strengths}")
    entries = [Entry(NOTHING, "–", None, seeds[0])]
    left_out: list[LeftOut] = []
    for name, strength, attack in _chosen(attacks, strengths, recipe):
        lacking = _lacking(attack, data)
        if lacking:
            left_out.append(LeftOut(attack=name, strength=strength, reason=lacking))
        else:
            entries += [Entry(name, strength, attack, seed) for seed in seeds]
    left_out = _together(left_out, {entry.name for entry in entries})
    places = [(entry.name, entry.strength, entry.seed) for entry in entries]
    if len(set(places)) < len(places):
        raise OptionError("an attack stands in the grid twice at the same strength")
    return entries, left_out


def _chosen(
    attacks: Sequence[str | Attack] | None, strengths: Strengths, recipe: Recipe | None
) -> Iterator[tuple[str, str, Attack]]:
    for attack in names() if attacks is None else attacks:
        if isinstance(attack, Attack):
            yield attack.name, _in_words(attack), attack
            continue
        offered = find(attack).strengths(recipe)
        for strength in _taken(attack, list(offered), strengths):
            yield attack, strength, offered[strength]


def _taken(attack: str, offered: list[str], strengths: Strengths) -> list[str]:
    if strengths is None:
        return offered
    if isinstance(strengths, int):
        if strengths >= len(offered):
            return offered
        if strengths == 1:
            return [offered[len(offered) // 2]]
        last = len(offered) - 1  # the weakest, the strongest, and evenly between
        return [offered[round(place * last / (strengths - 1))] for place in range(strengths)]
    wanted = list(strengths.get(attack, offered))
    unknown = [strength for strength in wanted if strength not in offered]
    if unknown:
        raise OptionError(
            f"attack {attack!r} has no strength {unknown[0]!r}; there are: {', '.join(offered)}"
        )
    return wanted


def _in_words(attack: Attack) -> str:
    """The fields of an attack made by hand that are not as they stand by default."""
    differing = [
        f"{field.name.replace('_', ' ')} {getattr(attack, field.name)}"
        for field in fields(attack)
        if getattr(attack, field.name) != field.default
    ]
    return ", ".join(differing) or "as it is"


def _lacking(attack: Attack, data: AttackData) -> str:
    for need, attribute in _GIVEN.items():
        if need in attack.needed() and getattr(data, attribute) is None:
            return f"needs {need}, which was not given"
    return ""


def _together(left_out: list[LeftOut], present: set[str]) -> list[LeftOut]:
    """One line for an attack of which nothing is in the grid."""
    whole = [
        left if left.attack in present else left.model_copy(update={"strength": None})
        for left in left_out
    ]
    return list(dict.fromkeys(whole))
