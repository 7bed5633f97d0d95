"""The manifest of a passport: what verification needs beside the key, signed by the owner.

It holds no secret and nothing the claimant could still choose: all passports, bits and heads
follow from the key and from the anchor inside. The signature makes any later change visible.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from modeldeed.anchor import MAX_MESSAGE_BYTES
from modeldeed.claimant import Claimant
from modeldeed.errors import EvidenceError
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner

__all__ = ["Manifest"]


class Manifest(SignedManifest):
    """A passport's manifest.

    Attributes:
        anchor: what was fixed before marking.
        label: the owner's name for the model; selects the seed.
        calls: how often each planned norm runs in one forward.
        message: the message in the bits, which the anchor commits to; None without one.
        state: SHA-256 of the file with trained private state, hexadecimal; None without one.
        signature: Ed25519 over all other fields, base64; empty while unsigned.
    """

    mark: ClassVar[str] = "passport"

    format: Literal["modeldeed-passport/v1"] = "modeldeed-passport/v1"
    calls: dict[str, Annotated[int, Field(ge=1)]]
    message: Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE_BYTES)] | None = None
    state: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _check_mark(self) -> Manifest:
        if self.anchor.passport is None:
            raise ValueError("its anchor holds no passport")
        return self

    def signed_by(self, owner: Owner, *, state: str | None) -> Manifest:
        """A copy that names a state file and carries the owner's signature."""
        return self.model_copy(update={"state": state}).signed(owner)

    def model_key(self, claimant: Claimant) -> bytes:
        """The model key under an owner's secret, or under an opened seed.

        Raises:
            EvidenceError: as of `SignedManifest.model_key`, or the message is not the committed
                one.
        """
        key = super().model_key(claimant)
        if self.message is None and self.anchor.message is None:
            return key
        seed = claimant.seed(self.label)
        if self.message is None or not self.anchor.commits_to(self.message.encode(), seed):
            raise EvidenceError(
                "the message in the passport is not the one its anchor commits to: one of them "
                "was altered"
            )
        return key
