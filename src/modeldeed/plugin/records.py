"""A plug-in's signed records: of itself, and of each model it was fused beside."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from modeldeed.anchor import MAX_TEXT, seed_commitment
from modeldeed.anchor.plugin_rule import BackgroundRule
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import Hex32
from modeldeed.identity import Identity
from modeldeed.manifest import SignedManifest, SignedRecord
from modeldeed.owner import Owner
from modeldeed.plugin.detector.config import DetectorConfig

__all__ = ["FusionManifest", "PluginRecord"]


class PluginRecord(SignedRecord):
    """A plug-in before it is fused: whose it is, its backgrounds, and its detector.

    Attributes:
        identity: the owner's Ed25519 public key, hexadecimal.
        label: the owner's name for the plug-in; selects the seed.
        seed_commitment: commitment to the seed, bound to the identity.
        backgrounds: how they follow from the seed.
        detector: the sizes and the version of its architecture.
        detector_root: tensor root of its weights; None while it is not trained.
        signature: as of `SignedRecord`.
    """

    mark: ClassVar[str] = "plug-in record"

    format: Literal["modeldeed-plugin/v1"] = "modeldeed-plugin/v1"
    identity: Hex32
    label: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    seed_commitment: Hex32
    backgrounds: BackgroundRule
    detector: DetectorConfig
    detector_root: Hex32 | None = None

    def owner_identity(self) -> Identity:
        """The identity that the record names."""
        return Identity(bytes.fromhex(self.identity))

    def seed(self, owner: Owner) -> bytes:
        """The plug-in's seed under an owner's secret.

        Raises:
            EvidenceError: the owner is another one, or the label's seed is not the committed one.
        """
        own, others = self.owner_identity(), owner.identity
        if own != others:
            raise EvidenceError(
                f"this plug-in belongs to identity {own.fingerprint[:16]}, the key to "
                f"{others.fingerprint[:16]}"
            )
        seed = owner.seed(self.label)
        if seed_commitment(seed, own.public_key) != self.seed_commitment:
            raise EvidenceError(
                "the key's seed is not the one this plug-in's record commits to: it was issued "
                "under another label, or altered"
            )
        return seed


class FusionManifest(SignedManifest):
    """A plug-in beside one model: the anchor that its target classes follow from.

    Attributes:
        anchor: what was fixed before fusing.
        label: the owner's name for the plug-in; selects the seed.
        signature: as of `SignedRecord`.
    """

    mark: ClassVar[str] = "plug-in"

    format: Literal["modeldeed-fusion/v1"] = "modeldeed-fusion/v1"

    @model_validator(mode="after")
    def _check_mark(self) -> FusionManifest:
        if self.anchor.plugin is None:
            raise ValueError("its anchor holds no plug-in")
        if self.anchor.passport is not None or self.anchor.triggers is not None:
            raise ValueError("its anchor holds another mark as well")
        return self
