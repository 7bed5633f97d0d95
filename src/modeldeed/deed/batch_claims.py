"""Claims by single batches: questions from a batch's own secrets, without the model's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from modeldeed.anchor import Anchor
from modeldeed.deed.batches import BatchSecret
from modeldeed.deed.recomputing import ShownMark
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.identity import Identity
from modeldeed.manifest import SignedManifest
from modeldeed.plugin.backgrounds import Backgrounds
from modeldeed.plugin.carriers import require_carriers
from modeldeed.plugin.claim import PluginClaim, VerificationSamples
from modeldeed.plugin.target_classes import batch_labels
from modeldeed.querying.answer_claim import AnswerClaim
from modeldeed.triggers.claim import TriggerClaim
from modeldeed.triggers.generate import Triggers, generate

__all__ = ["BatchClaimant", "OpenedBackgrounds", "OpenedTriggers", "batch_claim"]


@dataclass(frozen=True)
class BatchClaimant:
    """Who claims by batches alone: the seed was not shown.

    Attributes:
        identity: of the deed.
    """

    identity: Identity

    def seed(self, label: str) -> bytes:
        """There is none.

        Raises:
            EvidenceError: always.
        """
        raise EvidenceError(f"only batches of {label!r} were opened, not the seed")


class _ShownAnchor(SignedManifest):
    """An anchor without the rest of a manifest."""

    mark: ClassVar[str] = "batch opening"


@dataclass(frozen=True)
class OpenedTriggers(TriggerClaim):
    """Batches of triggers from their own keys.

    Attributes:
        secrets: by number of the batch.
    """

    secrets: Mapping[int, BatchSecret] = field(default_factory=dict, repr=False)

    def batch(self, number: int) -> Triggers:
        """The triggers of an opened batch.

        Raises:
            OptionError: it was not opened.
        """
        return generate(bytes.fromhex(_secret(self.secrets, number).key), self.rule)

    def blank(self) -> Tensor:
        """A sample of the lowest values that may stand in one."""
        lowest = getattr(self.rule.input, "lowest", 0)
        return torch.zeros_like(self.batch(min(self.secrets)).inputs[:1]) + lowest


@dataclass(frozen=True)
class OpenedBackgrounds(PluginClaim):
    """Batches of backgrounds from their own keys.

    Attributes:
        secrets: by number of the batch.
    """

    secrets: Mapping[int, BatchSecret] = field(default_factory=dict, repr=False)

    def batch(self, number: int) -> VerificationSamples:
        """The verification samples of an opened batch.

        Raises:
            OptionError: it was not opened.
        """
        secret, rule = _secret(self.secrets, number), self.rule
        start = number * rule.count
        shown = [bytes.fromhex(key) for key in secret.backgrounds]
        keys = {start + i: key for i, key in enumerate(shown)}
        indices = torch.arange(start, start + rule.count)
        samples = Backgrounds.of_keys(keys, rule.backgrounds).place(self._drawn(number), indices)
        labels = batch_labels(bytes.fromhex(secret.key), shown, rule.classes)
        return VerificationSamples(samples, labels)


def batch_claim(shown: ShownMark, carriers: Tensor | None = None) -> AnswerClaim:
    """The claim that some opened batches make.

    Args:
        shown: a mark of which batches were opened.
        carriers: for a plug-in: the judge's benign samples in canonical integers.

    Raises:
        OptionError: carriers are missing, do not fit, or are given without need.
    """
    manifest, claimant = _manifest(shown.anchor), BatchClaimant(shown.anchor.owner_identity())
    if shown.kind == "triggers":
        if carriers is not None:
            raise OptionError("carriers belong to a plug-in; triggers are whole by themselves")
        return OpenedTriggers(manifest, claimant, True, None, secrets=shown.batches)
    if carriers is None:
        raise OptionError(
            "a plug-in is examined on carriers=...: benign samples of the judge's own"
        )
    require_carriers(carriers, shown.anchor.plugin_rule.backgrounds.input)
    return OpenedBackgrounds(manifest, claimant, True, None, carriers, secrets=shown.batches)


def _manifest(anchor: Anchor) -> SignedManifest:
    return _ShownAnchor(anchor=anchor, label="(not shown)")


def _secret(secrets: Mapping[int, BatchSecret], number: int) -> BatchSecret:
    if number not in secrets:
        raise OptionError(f"batch {number} was not opened; these were: {sorted(secrets)}")
    return secrets[number]
