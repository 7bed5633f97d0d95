"""Run an attack, and record what it cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from modeldeed.attacks.registry import Attack, AttackData, Need, chosen
from modeldeed.errors import OptionError

__all__ = ["Attacked", "configuration", "run"]

_GIVEN: dict[Need, str] = {
    "other data": "other_data",
    "another model": "other_model",
    "another architecture": "other_architecture",
}
_OPTIONS = {
    "other_data": "--other-data",
    "other_model": "--other-weights",
    "other_architecture": "--other-model",
}


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """An attacked model, and what it took.

    Attributes:
        model: new, in evaluation mode.
        attack: what was done.
        needed: what it took beside weights and code.
        seconds: wall time.
        steps: of all optimizers.
        samples: different inputs that were looked at.
        labels: different labels that were looked at.
    """

    model: nn.Module
    attack: Attack
    needed: tuple[Need, ...]
    seconds: float
    steps: int
    samples: int
    labels: int

    def record(self) -> dict[str, Any]:
        """Everything but the model, as JSON holds it."""
        cost = {name: getattr(self, name) for name in ("seconds", "steps", "samples", "labels")}
        return {**configuration(self.attack), "needed": list(self.needed), **cost}


def configuration(attack: Attack) -> dict[str, Any]:
    """An attack's name and fields, as JSON holds them."""
    values = {field.name: getattr(attack, field.name) for field in fields(attack)}
    return {"attack": attack.name, "parameters": {n: _plain(v) for n, v in values.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, Attack):
        return configuration(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def run(
    attack: str | Attack, model: nn.Module, data: AttackData, generator: torch.Generator
) -> Attacked:
    """Attack a copy of a model and record what it cost.

    Args:
        attack: what to do; a name means the strength in the middle of its list.
        model: not changed.
        data: what whoever attacks has.
        generator: every random choice, on the CPU.

    Returns:
        The new model and the cost.

    Raises:
        OptionError: there is no such attack, something that it needs is not there, or it does not
            fit the model.

    Example:
        >>> from modeldeed.data import load
        >>> model, data = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), load("digits")
        >>> run("prune", model, AttackData(data), torch.Generator().manual_seed(0)).steps
        0
    """
    made = chosen(attack) if isinstance(attack, str) else attack
    needed = made.needed()
    for need, attribute in _GIVEN.items():
        if need in needed and getattr(data, attribute) is None:
            raise OptionError(
                f"attack {made.name!r} needs {need}: give AttackData({attribute}=…), on the "
                f"command line {_OPTIONS[attribute]}"
            )
    start = time.perf_counter()
    attacked = made.apply(model, data, generator)
    if data.dataset.x_train.is_cuda:
        torch.cuda.synchronize(data.dataset.x_train.device)
    seconds = time.perf_counter() - start
    samples = made.inputs_seen(data)
    return Attacked(
        model=attacked,
        attack=made,
        needed=needed,
        seconds=seconds,
        steps=made.steps(data),
        samples=samples,
        labels=samples if "labels" in needed else 0,
    )
