"""Copies of a passport: on another instance of its host, and none in a pickle."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NoReturn

from torch import nn

from modeldeed.triggers.training import TriggerOptions

if TYPE_CHECKING:
    from modeldeed.passport.passport import Passport

__all__ = ["deep_copy", "on", "refuse_pickling"]


def on(self: Passport, model: nn.Module) -> Passport:
    """The same passport on another instance of its host: an average of weights, a checkpoint.

    Args:
        self: the passport.
        model: the other instance; held by reference and not changed.

    Returns:
        A passport with the same key, rule and step count, and with private statistics and heads
        that are copies of the present ones and go their own way from here.

    Raises:
        HostError: the model is not one this passport fits.
    """
    triggers = self.triggers
    options = None
    if triggers is not None:
        options = TriggerOptions(prepare=triggers.prepare, training=triggers.training)
    twin = type(self)(
        model, self._owner, self.manifest, self.training, self.branch.factors, options
    )
    twin.restore(self.state())
    return twin


def deep_copy(self: Passport, memo: dict[int, Any]) -> Passport:
    """Copy host and passport together."""
    return self.on(copy.deepcopy(self.host, memo))


def refuse_pickling(self: Passport) -> NoReturn:  # noqa: ARG001 - bound as a method
    """Refuse to be pickled.

    Raises:
        TypeError: always.
    """
    raise TypeError(
        "a passport is not pickled, its secrets would lie open; see Passport.save and Passport.load"
    )
