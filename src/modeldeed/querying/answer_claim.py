"""What every claim to answers has in common: whose it is, and questions that follow from a key."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from modeldeed.anchor.plugin_rule import PluginRule
from modeldeed.anchor.trigger_rule import TriggerRule
from modeldeed.claimant import Claimant
from modeldeed.digests import canonical_json
from modeldeed.manifest import SignedManifest
from modeldeed.suspects.answering.preparation import Prepare

__all__ = ["AnswerClaim", "Questions"]


class Questions(Protocol):
    """Samples and the answers that carry the mark.

    Attributes:
        inputs: canonical integers ``(N, …)``, in the order in which they are asked.
        labels: the classes to be answered, int64 ``(N,)``.
    """

    @property
    def inputs(self) -> Tensor:
        """The samples."""
        ...

    @property
    def labels(self) -> Tensor:
        """The answers."""
        ...


@dataclass(frozen=True)
class AnswerClaim(ABC):
    """A mark's manifest under somebody's key.

    Attributes:
        manifest: authenticated.
        owner: who claims, with a secret or an opened seed.
        owns: whether the manifest is that owner's; if not, the questions are those that he would
            have had for the same model and rules.
        prepare: makes the input of a model in this process of canonical integers; None where the
            claim does not know.
    """

    manifest: SignedManifest
    owner: Claimant
    owns: bool
    prepare: Prepare | None

    @property
    @abstractmethod
    def rule(self) -> TriggerRule | PluginRule:
        """Which classes there are, how many batches, and how many questions in each."""

    @property
    @abstractmethod
    def family(self) -> str:
        """How the questions are drawn, in a report's words."""

    @abstractmethod
    def batch(self, number: int) -> Questions:
        """The questions of a batch, in the order in which they are asked."""

    @abstractmethod
    def blank(self) -> Tensor:
        """One sample that says nothing, to see whether a suspect answers at all."""

    def model_key(self) -> bytes:
        """The key of this model under the claimant's secret."""
        return self.manifest.claimed_key(self.owner)

    @property
    def name(self) -> str:
        """What tells this claim from others under the same anchor's rule, for names of files."""
        whose = self.owner.identity.public_key.hex()
        return hashlib.sha256(f"{self.manifest.anchor.digest}{whose}".encode()).hexdigest()

    @property
    def rule_digest(self) -> str:
        """SHA-256 of the rule, hexadecimal; it names the rule in transcripts."""
        return hashlib.sha256(canonical_json(self.rule.model_dump(mode="json"))).hexdigest()
