"""An opening: the owner shows a judge one model's secrets, for one suspect and one dispute.

It is bound to the deed, to the suspect and to a number that the judge drew, so that it serves
nobody else. What it shows is either a model's seed, from which all of its marks follow, or single
batches of questions.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from modeldeed.anchor import Anchor
from modeldeed.bounds import require_few_values
from modeldeed.claimant import OpenedSeed
from modeldeed.deed.batches import BatchSecret
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import EvidenceModel, Hex32
from modeldeed.identity import Identity
from modeldeed.manifest import SignedRecord
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.plugin.records import FusionManifest
from modeldeed.triggers.manifest import TriggerManifest

__all__ = ["BatchOpening", "Nonce", "OpenedBatch", "Opening", "SeedOpening"]

Nonce = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){16,64}$")]
"""What a judge drew for one dispute: 16 … 64 bytes, hexadecimal."""

_Place = Annotated[int, Field(ge=0, le=63)]
AnyManifest = Annotated[Manifest | TriggerManifest | FusionManifest, Field(discriminator="format")]


class SeedOpening(EvidenceModel):
    """The marks of one anchor, opened by the seed that they follow from.

    Attributes:
        by: ``"seed"``.
        marks: their places in the deed's list.
        seed: of the manifest's label, hexadecimal.
        manifest: of the mark, or of both.
    """

    by: Literal["seed"] = "seed"
    marks: Annotated[tuple[_Place, ...], Field(min_length=1, max_length=2)]
    seed: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    manifest: AnyManifest

    def claimant(self) -> OpenedSeed:
        """Who claims, as a judge holds it."""
        return OpenedSeed(
            self.manifest.owner_identity(), self.manifest.label, bytes.fromhex(self.seed)
        )


class OpenedBatch(EvidenceModel):
    """One batch.

    Attributes:
        number: of the batch.
        salt: of its commitment, hexadecimal.
        secret: what its questions follow from.
    """

    number: Annotated[int, Field(ge=0, le=255)]
    salt: Hex32
    secret: Annotated[BatchSecret, Field(repr=False)]


class BatchOpening(EvidenceModel):
    """Single batches of one mark; its seed and its other batches stay secret.

    Attributes:
        by: ``"batches"``.
        mark: its place in the deed's list.
        anchor: with the rule of the questions.
        batches: those that are shown.
    """

    by: Literal["batches"] = "batches"
    mark: _Place
    anchor: Anchor
    batches: Annotated[tuple[OpenedBatch, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _check_batches(self) -> BatchOpening:
        numbers = [batch.number for batch in self.batches]
        if numbers != sorted(set(numbers)):
            raise ValueError("batches are in ascending order, each once")
        return self


class Opening(SignedRecord):
    """What a judge is shown, signed by the owner.

    Attributes:
        deed: digest of the deed.
        suspect: digest of the suspect, as reports give it.
        nonce: what the judge drew.
        identity: the owner's public key, hexadecimal.
        marks: what is shown of each mark.
        signature: as of `SignedRecord`.
    """

    mark: ClassVar[str] = "opening"

    format: Literal["modeldeed-opening/v1"] = "modeldeed-opening/v1"
    deed: Hex32
    suspect: Hex32
    nonce: Nonce
    identity: Hex32
    marks: Annotated[
        tuple[Annotated[SeedOpening | BatchOpening, Field(discriminator="by")], ...],
        Field(min_length=1, max_length=64),
    ]

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parse an opening strictly; what it is for is not checked yet.

        Raises:
            EvidenceError: as of `SignedRecord.from_json`, or it holds too many values.
        """
        require_few_values(data, "opening")
        return super().from_json(data)

    def owner_identity(self) -> Identity:
        """Whose opening it is."""
        return Identity(bytes.fromhex(self.identity))

    def places(self) -> tuple[int, ...]:
        """The places in the deed's list that it shows something of."""
        return tuple(
            place
            for shown in self.marks
            for place in (shown.marks if isinstance(shown, SeedOpening) else (shown.mark,))
        )

    def require_for(
        self, deed: bytes, *, suspect: str | None = None, nonce: str | None = None
    ) -> None:
        """Refuse an opening that was made for something else.

        Args:
            deed: digest of the deed.
            suspect: digest of the suspect; None does not look.
            nonce: that the judge drew; None does not look.

        Raises:
            EvidenceError: it was altered, or is of another deed, for another suspect or dispute.
        """
        self.require_authentic()
        if self.deed != deed.hex():
            raise EvidenceError("the opening belongs to another deed")
        if suspect is not None and self.suspect != suspect:
            raise EvidenceError(
                f"the opening is for the suspect {self.suspect[:16]}…, not for {suspect[:16]}…"
            )
        if nonce is not None and self.nonce != nonce.lower():
            raise EvidenceError(
                "the opening was made for another dispute: its nonce is not the judge's"
            )
        places = self.places()
        if len(set(places)) < len(places):
            raise EvidenceError("the opening shows one mark twice")
