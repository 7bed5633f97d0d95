"""A claim to answers: whose it is, and the triggers that follow from the key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldeed.anchor.trigger_rule import TriggerRule
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner
from modeldeed.triggers import manifest as files
from modeldeed.triggers.generate import Triggers, batch_key, generate

__all__ = ["Claim"]


@dataclass(frozen=True)
class Claim:
    """A trigger set's manifest under somebody's key.

    Attributes:
        manifest: authenticated.
        owner: who claims.
        owns: whether the manifest is that owner's; if not, the triggers are those that he would
            have had for the same model and rules.
    """

    manifest: SignedManifest
    owner: Owner
    owns: bool

    @classmethod
    def of(cls, triggers: Any, owner: Owner) -> Claim:
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
        return cls(manifest, owner, owner.identity == manifest.anchor.owner_identity())

    @property
    def rule(self) -> TriggerRule:
        """What the triggers are made for."""
        return self.manifest.anchor.trigger_rule

    @property
    def name(self) -> str:
        """What tells this claim from others under the same anchor's rule, for names of files."""
        whose = self.owner.identity.public_key.hex()
        return hashlib.sha256(f"{self.manifest.anchor.digest}{whose}".encode()).hexdigest()

    @property
    def lowest(self) -> int:
        """A value that may stand in an input."""
        return getattr(self.rule.input, "lowest", 0)

    @property
    def rule_digest(self) -> str:
        """SHA-256 of the rule, hexadecimal; it names the rule in transcripts."""
        return hashlib.sha256(canonical_json(self.rule.model_dump(mode="json"))).hexdigest()

    def batch(self, number: int) -> Triggers:
        """The triggers of a batch, in the order in which they are asked."""
        find_key = self.manifest.model_key if self.owns else self.manifest.wrong_key
        return generate(batch_key(find_key(self.owner), number), self.rule)
