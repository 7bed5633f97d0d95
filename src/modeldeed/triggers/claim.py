"""A claim by a trigger set: whose it is, and the triggers that follow from the key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modeldeed.anchor.trigger_rule import TriggerRule
from modeldeed.claimant import Claimant
from modeldeed.errors import EvidenceError
from modeldeed.manifest import SignedManifest
from modeldeed.querying.answer_claim import AnswerClaim
from modeldeed.triggers import manifest as files
from modeldeed.triggers.generate import Triggers, batch_key, generate
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["TriggerClaim"]


@dataclass(frozen=True)
class TriggerClaim(AnswerClaim):
    """A trigger set's manifest under somebody's key."""

    @classmethod
    def of(cls, triggers: Any, owner: Claimant) -> TriggerClaim:
        """Read a claim.

        Args:
            triggers: a trigger set; its manifest; the folder of one, or of a passport with one;
                or what has such triggers, as a passport.
            owner: who claims.

        Raises:
            OptionError: the folder holds none.
            EvidenceError: it was altered, there are no triggers in it, or the key does not open
                it though the identity is the same.
        """
        if isinstance(triggers, str | Path):
            manifest = files.load(Path(triggers))
        elif isinstance(triggers, SignedManifest):
            manifest = type(triggers).from_json(triggers.to_json())
            manifest.require_authentic()
        else:
            manifest = triggers.manifest
        if manifest.anchor.triggers is None:
            raise EvidenceError(
                f"the {manifest.mark} was issued without triggers; only weights can be examined"
            )
        prepare = triggers.prepare if isinstance(triggers, TriggerSet) else None
        return cls(manifest, owner, manifest.owned_by(owner), prepare)

    @property
    def rule(self) -> TriggerRule:
        """What the triggers are made for."""
        return self.manifest.anchor.trigger_rule

    @property
    def family(self) -> str:
        """How they are drawn."""
        return self.rule.family

    def batch(self, number: int) -> Triggers:
        """The triggers of a batch, in the order in which they are asked."""
        return generate(batch_key(self.model_key(), number), self.rule)

    def blank(self) -> Tensor:
        """A sample of the lowest values that may stand in one."""
        lowest = getattr(self.rule.input, "lowest", 0)
        return torch.zeros_like(self.batch(0).inputs[:1]) + lowest
