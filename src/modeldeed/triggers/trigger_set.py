"""A trigger set: keyed inputs that a model learns to answer by keyed labels."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modeldeed.errors import OptionError
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner
from modeldeed.suspects.answering.preparation import Inputs, Preparation, Prepare
from modeldeed.triggers import issuing
from modeldeed.triggers import manifest as files
from modeldeed.triggers.embedding import embed
from modeldeed.triggers.feed import Feed
from modeldeed.triggers.generate import Triggers, batch_key, generate
from modeldeed.triggers.joint import augment, joint_loss, match_rate
from modeldeed.triggers.manifest import TriggerManifest
from modeldeed.triggers.training import TriggerTraining

__all__ = ["TriggerSet"]

# Numbers in an input, beyond which no family draws the same one twice.
_CERTAINLY_MANY = 4_096


class TriggerSet:
    """The triggers of a model: made by `TriggerSet.issue`, `TriggerSet.load` or a passport.

    A trigger looks like nothing that the model was made for, and its label is drawn from the key
    alone. So who did not learn them answers one with probability 1/K, whatever he does.

    Attributes:
        manifest: what verification needs beside the key.
        rule: the input's form, the family, K, and how many there are.
        prepare: makes the model's input of canonical integers.
        training: how the model learns them; may be replaced before training begins.
        feed: what training takes next.

    Reference:
        Y. Adi et al., "Turning Your Weakness Into a Strength", USENIX Security 2018; here inputs
        and labels follow from a key that an anchor fixes, so the claimant chooses neither.

    Example:
        >>> owner = Owner.generate("Acme Vision")
        >>> triggers = TriggerSet.issue(owner, example=torch.rand(1, 3, 32, 32), classes=10)
        >>> triggers.inputs.shape, triggers.labels.shape
        (torch.Size([128, 3, 32, 32]), torch.Size([128]))
    """

    def __init__(
        self,
        owner: Owner,
        manifest: SignedManifest,
        prepare: Prepare | None = None,
        training: TriggerTraining | None = None,
    ) -> None:
        self.manifest = manifest
        self.rule = manifest.anchor.trigger_rule
        self.prepare: Prepare = prepare or Preparation()
        self.training = training or TriggerTraining()
        self.feed = Feed(self)
        self._owner = owner
        self._key = manifest.model_key(owner)
        self._all: Triggers | None = None

    anchor = classmethod(issuing.anchor)
    issue = classmethod(issuing.issue)

    def require_distinct(self) -> None:
        """Refuse triggers that repeat: two labels of one input cannot both be answered.

        Raises:
            OptionError: they do.
        """
        if self.inputs[0].numel() > _CERTAINLY_MANY:
            return
        different = len(torch.unique(self.inputs.flatten(1), dim=0))
        if different < len(self):
            raise OptionError(
                f"only {different} of {len(self)} triggers of {self.rule.family} differ: inputs "
                "of this form hold too little; take another family, or fewer with count and "
                "batches"
            )

    def batch(self, number: int) -> Triggers:
        """One batch of triggers.

        Raises:
            OptionError: there is no such batch.
        """
        if not 0 <= number < self.rule.batches:
            raise OptionError(f"there are the batches 0 … {self.rule.batches - 1}, got {number}")
        return generate(batch_key(self._key, number), self.rule)

    def _generated(self) -> Triggers:
        if self._all is None:
            parts = [self.batch(number) for number in range(self.rule.batches)]
            self._all = Triggers(
                torch.cat([part.inputs for part in parts]),
                torch.cat([part.labels for part in parts]),
            )
        return self._all

    @property
    def inputs(self) -> Tensor:
        """The triggers of all batches in canonical integers."""
        return self._generated().inputs

    @property
    def labels(self) -> Tensor:
        """Their labels, int64 ``(N,)``."""
        return self._generated().labels

    def __len__(self) -> int:
        return self.rule.batches * self.rule.count

    def prepared(self, indices: Tensor | None = None) -> Inputs:
        """Some triggers as the model takes them; None for all."""
        return self.prepare(self.inputs if indices is None else self.inputs[indices])

    def save(self, path: str | Path) -> None:
        """Write the signed manifest to a folder; neither key nor triggers are in it.

        Raises:
            OptionError: the triggers belong to a passport, which is saved as a whole.
        """
        if not isinstance(self.manifest, TriggerManifest):
            raise OptionError("these triggers belong to a passport: save that, with passport.save")
        files.save(Path(path), self.manifest, self._owner)

    @classmethod
    def load(
        cls,
        path: str | Path,
        owner: Owner,
        prepare: Prepare | None = None,
        training: TriggerTraining | None = None,
    ) -> TriggerSet:
        """Open a saved trigger set, or that of a saved passport.

        Args:
            path: the folder.
            owner: whose it is.
            prepare: as for `issue`; None divides by the integers' range and no more.
            training: as for `issue`.

        Raises:
            OptionError: the folder holds no trigger set.
            EvidenceError: it was altered, or is not this owner's.
        """
        return cls(owner, files.load(Path(path)), prepare, training)

    joint_loss = joint_loss
    augment = augment
    match_rate = match_rate
    embed = embed

    def __deepcopy__(self, memo: dict[int, Any]) -> TriggerSet:
        other = copy.copy(self)
        other.feed = Feed(other)
        other.feed.restore(self.feed.state())
        memo[id(self)] = other
        return other

    def __repr__(self) -> str:
        return (
            f"TriggerSet({len(self)} of {self.rule.family}, {self.rule.input.kind}, "
            f"{self.rule.classes} classes)"
        )
