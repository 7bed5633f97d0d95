"""Models made from others: what a deed says of its origins, and the upstream owner's consent."""

from __future__ import annotations

from typing import ClassVar, Literal

from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import EvidenceModel, Hex32, Name, Words
from modeldeed.identity import Identity
from modeldeed.manifest import SignedRecord

__all__ = ["Countersignature", "DerivedFrom"]


class Countersignature(SignedRecord):
    """The upstream owner's signed consent to a model made from his.

    It is either in the deed of the derived model, made before it, or a file beside it.

    Attributes:
        identity: the upstream owner's public key, hexadecimal.
        upstream: digest of the upstream deed.
        licensee: public key of the one who may, hexadecimal.
        terms: the licence, by name or in words.
        tensor_root: of the one derived model it is about; None: any of this licensee.
        deed: digest of the one derived deed it is about; None: any of this licensee.
        signature: as of `SignedRecord`.
    """

    mark: ClassVar[str] = "countersignature"

    format: Literal["modeldeed-countersignature/v1"] = "modeldeed-countersignature/v1"
    identity: Hex32
    upstream: Hex32
    licensee: Hex32
    terms: Words
    tensor_root: Hex32 | None = None
    deed: Hex32 | None = None

    def owner_identity(self) -> Identity:
        """The upstream owner."""
        return Identity(bytes.fromhex(self.identity))

    def require_covers(self, licensee: Identity, tensor_root: str, deed: str | None = None) -> None:
        """Refuse a consent that is somebody's else, or about something else.

        Args:
            licensee: whose derived model it is.
            tensor_root: of the derived model.
            deed: digest of the derived deed; None while that is being made, and then a consent to
                one deed covers none.

        Raises:
            EvidenceError: it was altered, or is not about this.
        """
        self.require_authentic()
        if self.licensee != licensee.public_key.hex():
            raise EvidenceError("the countersignature licenses somebody else")
        if self.tensor_root not in (None, tensor_root):
            raise EvidenceError("the countersignature is about another derived model")
        if self.deed is not None and self.deed != deed:
            raise EvidenceError("the countersignature is about another derived deed")


class DerivedFrom(EvidenceModel):
    """A model that this one was made from.

    Attributes:
        tensor_root: of that model.
        deed: digest of its deed; None where it has none that is known.
        terms: its licence, by name or in words; None where none is claimed.
        countersignature: its owner's consent; None without one.
    """

    tensor_root: Hex32
    name: Name | None = None
    deed: Hex32 | None = None
    terms: Words | None = None
    countersignature: Countersignature | None = None
