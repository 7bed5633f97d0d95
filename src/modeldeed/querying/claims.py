"""Which mark a claim to answers is about."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modeldeed.claimant import Claimant
from modeldeed.errors import OptionError
from modeldeed.plugin.claim import PluginClaim
from modeldeed.querying.answer_claim import AnswerClaim
from modeldeed.triggers.claim import TriggerClaim

__all__ = ["claim_of"]


def claim_of(
    owner: Claimant,
    *,
    triggers: Any = None,
    plugin: Any = None,
    carriers: Tensor | None = None,
) -> AnswerClaim:
    """Read a claim.

    Args:
        owner: who claims.
        triggers: a trigger set, as of `TriggerClaim.of`.
        plugin: a plug-in, as of `PluginClaim.of`.
        carriers: for a plug-in: the judge's benign samples in canonical integers.

    Raises:
        OptionError: not exactly one of ``triggers`` and ``plugin`` is given, carriers are missing
            or given without need, or a folder holds no such mark.
        EvidenceError: the claim was altered, or the key does not open it though the identity is
            the same.
    """
    if (triggers is None) == (plugin is None):
        raise OptionError("give one claim: triggers=..., or plugin=... with carriers=...")
    if triggers is not None:
        if carriers is not None:
            raise OptionError("carriers belong to a plug-in; triggers are whole by themselves")
        return TriggerClaim.of(triggers, owner)
    if carriers is None:
        raise OptionError(
            "a plug-in is examined on carriers=...: benign samples of the judge's own"
        )
    return PluginClaim.of(plugin, owner, carriers)
