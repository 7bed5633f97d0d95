"""From what a caller claims to the examiners of an audit.

Only the one seed of each mark's label goes on from here, never an owner's whole secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import assert_spawning
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from modeldeed.anchoring.standing import Trusted, standing_of
from modeldeed.audit.aligned import Unmarked, lineage_of
from modeldeed.audit.examiners import AnswerExaminer, Examiner, PassportExaminer
from modeldeed.claimant import Claimant, OpenedSeed
from modeldeed.deed import Deed, Opening
from modeldeed.deed.verifying import DeedStanding, answer_claim, open_deed, passport_claim
from modeldeed.errors import OptionError
from modeldeed.identity import Identity
from modeldeed.passport.claim import PassportClaim
from modeldeed.querying.claims import claim_of
from modeldeed.suspects.answering.preparation import Prepare
from modeldeed.trust import Trust

__all__ = ["Claims", "examiners_of_deed", "examiners_of_marks"]

_KINDS = {"triggers": "triggers", "plugin": "plug-in"}


def examiners_of_marks(
    model: nn.Module,
    owner: Claimant,
    *,
    passport: Any = None,
    unmarked: Unmarked | None = None,
    triggers: Any = None,
    plugin: Any = None,
    carriers: Tensor | None = None,
    trust: Trusted | None = None,
    prepare: Prepare | None = None,
    wrong_keys: int = 999,
) -> list[Examiner]:
    """The examiners of an owner's marks; arguments are those of `modeldeed.audit.audit`.

    Raises:
        EvidenceError: a mark was altered.
        OptionError: carriers are missing, or a folder holds no such mark.
    """
    found: list[Examiner] = []
    if passport is not None:
        white = PassportClaim.of(passport, owner)
        standing = standing_of(white.manifest, trust)
        lineage = lineage_of(white, model, unmarked)
        seed = ModelSeed.of(owner, white.manifest.label)
        claim = replace(white, claimant=seed)
        found.append(PassportExaminer(claim, standing, lineage, wrong_keys))
    for kind, mark in (("triggers", triggers), ("plugin", plugin)):
        if mark is None:
            continue
        given = {kind: mark, "carriers": carriers if kind == "plugin" else None}
        black = claim_of(owner, **given)
        standing = standing_of(black.manifest, trust)
        own = replace(black, owner=ModelSeed.of(owner, black.manifest.label))
        found.append(AnswerExaminer(_KINDS[kind], own, standing, prepare))
    return found


@dataclass(frozen=True)
class ModelSeed:
    """One model's seed on its way to the processes of an audit.

    An `OpenedSeed` is never pickled, since a pickle could lie in a file. This one is while a
    process is being started, into the pipe to that process; at any other time it refuses as well.

    Attributes:
        identity: whose.
        label: of the model.
        opened: the secret bytes; they are in no representation.
    """

    identity: Identity
    label: str
    opened: bytes = field(repr=False)

    @classmethod
    def of(cls, claimant: Claimant, label: str) -> ModelSeed:
        """The one seed that a claim needs."""
        return cls(claimant.identity, label, claimant.seed(label))

    def __getstate__(self) -> dict[str, Any]:
        assert_spawning(self)
        return vars(self)

    def seed(self, label: str) -> bytes:
        """The seed of the one label; any other is an error of `OpenedSeed`."""
        return OpenedSeed(self.identity, self.label, self.opened).seed(label)


def examiners_of_deed(
    model: nn.Module,
    deed: Deed | str | Path,
    opening: Opening | str | Path,
    *,
    passport: str | Path | None = None,
    unmarked: Unmarked | None = None,
    carriers: Tensor | None = None,
    trust: Trust | None = None,
    prepare: Prepare | None = None,
    wrong_keys: int = 999,
) -> list[Examiner]:
    """The examiners of a deed's marks, each under the rule that the deed commits to.

    Args:
        model: as it shipped.
        deed: or its folder.
        opening: for whatever suspect: this is no dispute.
        passport: its folder, for learned heads and coloured readings.
        unmarked: the exhibit of the passport's anchor, for aligned readings.
        carriers: for a plug-in; without them it is not examined.
        trust: known authorities.
        prepare: for marks that are asked for.
        wrong_keys: for the passport.

    Raises:
        EvidenceError: the deed or the opening was altered, or they do not belong together.
        OptionError: the opening shows no mark that can be examined.
    """
    deed, _, shown, check = open_deed(deed, opening, trust=trust, nonce=None)
    found: list[Examiner] = []
    for mark in shown:
        standing = DeedStanding.of(mark, trust)
        if mark.kind == "passport":
            claim = passport_claim(mark, passport)
            dated = standing.anchored and check.dated.word != "undated"
            lineage = lineage_of(claim, model, unmarked, deed=deed.digest, dated=dated)
            seed = ModelSeed.of(claim.claimant, claim.manifest.label)
            claim = replace(claim, claimant=seed)
            found.append(PassportExaminer(claim, standing, lineage, wrong_keys))
        elif mark.kind == "triggers" or carriers is not None:
            own = carriers if mark.kind == "plugin" else None
            batch = min(mark.batches, default=0)
            asked = answer_claim(mark, own)
            if mark.manifest is not None:  # else single batches are shown, and no seed
                asked = replace(asked, owner=ModelSeed.of(asked.owner, mark.manifest.label))
            found.append(AnswerExaminer(_KINDS[mark.kind], asked, standing, prepare, batch))
    if not found:
        raise OptionError("the opening shows a plug-in alone: give carriers=...")
    return _in_order(found)


def _in_order(found: Sequence[Examiner]) -> list[Examiner]:
    return sorted(found, key=lambda examiner: not isinstance(examiner, PassportExaminer))


@dataclass(frozen=True)
class Claims:
    """The marks of a call, as of `modeldeed.audit.audit`; all may be missing."""

    passport: Any = None
    unmarked: Unmarked | None = None
    triggers: Any = None
    plugin: Any = None
    carriers: Tensor | None = None
    owner: Claimant | None = None
    deed: Deed | str | Path | None = None
    opening: Opening | str | Path | None = None
    trust: Trusted | None = None

    def examiners(
        self, model: nn.Module, prepare: Prepare | None, wrong_keys: int
    ) -> list[Examiner]:
        """Of all marks.

        Args:
            model: as it shipped.
            prepare: for marks that are asked for.
            wrong_keys: for the passport.

        Raises:
            EvidenceError: a mark, deed, opening or exhibit was altered.
            OptionError: what is given does not go together.
        """
        common = {"passport": self.passport, "unmarked": self.unmarked,
                  "carriers": self.carriers, "prepare": prepare}  # fmt: skip
        if self.deed is not None or self.opening is not None:
            return self._of_deed(model, **common, wrong_keys=wrong_keys)
        if self.unmarked is not None and self.passport is None:
            raise OptionError("unmarked goes with a passport, or with a deed that has one")
        marks = (self.passport, self.triggers, self.plugin)
        if self.owner is None:
            if any(mark is not None for mark in marks):
                raise OptionError("marks without a deed need owner=...")
            return []
        return examiners_of_marks(
            model,
            self.owner,
            triggers=self.triggers,
            plugin=self.plugin,
            trust=self.trust,
            wrong_keys=wrong_keys,
            **common,
        )

    def _of_deed(self, model: nn.Module, **common: Any) -> list[Examiner]:
        if self.deed is None or self.opening is None:
            raise OptionError("deed and opening go together: a deed alone shows nothing")
        if any(other is not None for other in (self.owner, self.triggers, self.plugin)):
            raise OptionError("the claim is in the deed and its opening: leave out other claims")
        if self.trust is not None and not isinstance(self.trust, Trust):
            raise OptionError("with a deed, trust is a trust file: modeldeed.trust.Trust")
        return examiners_of_deed(model, self.deed, self.opening, trust=self.trust, **common)
