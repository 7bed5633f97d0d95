"""What a deed says: an in-toto Statement about a model's files, signed by its owner.

It names the files, commits to the marks without showing them, and fixes the rule of decision:
everything that could be chosen later is said before the dispute.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from modeldeed.bounds import require_few_values
from modeldeed.deed.budgets import MarkBudget, floor_of
from modeldeed.deed.derivation import DerivedFrom
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import EvidenceModel, Hex32, Name
from modeldeed.identity import Identity
from modeldeed.strict_json import strict_json

__all__ = [
    "MAX_TOKEN_TEXT",
    "TENSORS",
    "Algorithms",
    "MarkEntry",
    "Predicate",
    "Statement",
    "Subject",
]

TENSORS = "tensors"
"""Name of the subject that is the weights themselves, whatever files they lie in."""

MAX_TOKEN_TEXT = 2**17
_MAX_SUBJECTS = 10_002
_MAX_MARKS = 64
_TENSOR_ROOT = "modeldeedTensorRootV1"
_FORMAT = "modeldeed-deed/v1"

_Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
_Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
_FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class FileDigests(EvidenceModel):
    """Two digests of one file.

    Attributes:
        sha256: hexadecimal.
        blake3: hexadecimal; None where SHA-512 is given instead.
        sha512: hexadecimal; None where BLAKE3 is given.
    """

    sha256: Hex32
    blake3: Hex32 | None = None
    sha512: _Hex64 | None = None

    @model_validator(mode="after")
    def _check_two(self) -> FileDigests:
        if (self.blake3 is None) == (self.sha512 is None):
            raise ValueError("a file has sha256 and one of blake3 and sha512")
        return self


class TensorDigest(EvidenceModel):
    """The tensor root of the whole model.

    Attributes:
        root: hexadecimal.
    """

    root: Hex32 = Field(alias=_TENSOR_ROOT)


class Subject(EvidenceModel):
    """One thing the deed is about: a file, or the weights themselves.

    Attributes:
        name: the file's name in the model's folder; ``"tensors"`` for the weights.
        digest: two digests of a file, or the tensor root.
    """

    name: Name
    digest: FileDigests | TensorDigest

    @model_validator(mode="after")
    def _check_name(self) -> Subject:
        if isinstance(self.digest, TensorDigest) != (self.name == TENSORS):
            raise ValueError(f"the subject {TENSORS!r} has the tensor root, files have digests")
        return self


class Algorithms(EvidenceModel):
    """The algorithms by name, inside of what is signed, so that none can be exchanged.

    Attributes:
        signature: of the envelope and of records.
        hash: of commitments, imprints and the tensor root.
        derivation: of keys and salts.
        stream: of secret numbers.
        commitment: versioned rule.
    """

    signature: Literal["Ed25519"]
    hash: Literal["SHA-256"]
    derivation: Literal["HKDF-SHA256"]
    stream: Literal["ChaCha20"]
    commitment: Literal["modeldeed/v1/commitment"]


class MarkEntry(EvidenceModel):
    """One mark, without anything that would tell how it is read.

    Attributes:
        kind: ``"passport"``, ``"triggers"``, ``"plugin"``, or a later one.
        anchor: SHA-256 of the anchor's canonical bytes, hexadecimal.
        token: the anchor's timestamp token, base64; None for an unanchored mark.
        commitments: field of the manifest or of the anchor -> commitment to its value.
        batches: commitments to the secrets of each batch of questions, in order; each is opened
            alone. Empty for marks that are read from weights.
        budget: what evidence must pay.
    """

    kind: _Kind
    anchor: Hex32
    token: Annotated[str, Field(min_length=4, max_length=MAX_TOKEN_TEXT)] | None = None
    commitments: Annotated[dict[_FieldName, Hex32], Field(min_length=1, max_length=64)]
    batches: Annotated[tuple[Hex32, ...], Field(max_length=256)] = ()
    budget: MarkBudget

    @model_validator(mode="after")
    def _check_budget(self) -> MarkEntry:
        floor = floor_of(self.kind, anchored=self.token is not None)
        if not self.budget.at_least(floor):
            raise ValueError(
                f"the budget of {self.kind} is laxer than the rules allow: at least "
                f"{floor.alpha_log2} and {floor.grinding_log2}"
            )
        return self


class Predicate(EvidenceModel):
    """What the deed says about its subjects.

    Attributes:
        format: of the deed.
        identity: the owner's Ed25519 public key, hexadecimal.
        algorithms: by name.
        library: version of the package that wrote it.
        marks: what the model carries.
        derived_from: models it was made from.
    """

    format: Literal["modeldeed-deed/v1"]
    identity: Hex32
    algorithms: Algorithms
    library: Name
    marks: Annotated[tuple[MarkEntry, ...], Field(min_length=1, max_length=_MAX_MARKS)]
    derived_from: Annotated[tuple[DerivedFrom, ...], Field(max_length=_MAX_MARKS)] = ()

    @model_validator(mode="after")
    def _check_marks(self) -> Predicate:
        named = [(mark.kind, mark.anchor) for mark in self.marks]
        if len(set(named)) < len(named):
            raise ValueError("one mark stands twice")
        return self


class Statement(EvidenceModel):
    """The signed statement.

    Attributes:
        type_: of the statement, as in-toto names it.
        subject: the model's files, and its weights.
        predicate_type: of the predicate.
        predicate: what is said.
    """

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[Subject, ...], Field(min_length=2, max_length=_MAX_SUBJECTS)]
    predicate_type: Literal["https://modeldeed.org/deed/v1"] = Field(alias="predicateType")
    predicate: Predicate

    @model_validator(mode="after")
    def _check_subjects(self) -> Statement:
        names = [subject.name for subject in self.subject]
        if len(set(names)) < len(names):
            raise ValueError("one subject stands twice")
        if names[-1] != TENSORS or names[:-1] != sorted(names[:-1]):
            raise ValueError(f"subjects are the files in the order of names, then {TENSORS!r}")
        return self

    @property
    def tensor_root(self) -> str:
        """The tensor root of the model, hexadecimal."""
        digest = self.subject[-1].digest
        assert isinstance(digest, TensorDigest)  # checked when it was made
        return digest.root

    @property
    def files(self) -> dict[str, FileDigests]:
        """The digests of the model's files by their names."""
        return {s.name: s.digest for s in self.subject if isinstance(s.digest, FileDigests)}

    def owner_identity(self) -> Identity:
        """The identity that it names, as a checked public key.

        Raises:
            EvidenceError: the key is malformed or of small order.
        """
        return Identity(bytes.fromhex(self.predicate.identity))

    def to_payload(self) -> bytes:
        """The bytes to be signed: canonical JSON without fields that say nothing."""
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_none=True))

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Read a verified payload strictly.

        Raises:
            EvidenceError: it is of another version, malformed, has unknown fields or algorithms,
                duplicate keys, floats, or text that is not in normal form.
        """
        require_few_values(payload, "deed")
        value = strict_json(payload)
        _require_version(value)
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise EvidenceError(
                f"the deed is malformed at {where or 'its top'}: {first['msg']}"
            ) from error


def _require_version(value: Any) -> None:
    predicate = value.get("predicate") if isinstance(value, dict) else None
    found = predicate.get("format") if isinstance(predicate, dict) else None
    if not isinstance(found, str) or not found.startswith("modeldeed-deed/v"):
        raise EvidenceError("this signed statement is no deed: its predicate has no deed's format")
    if found != _FORMAT:
        raise EvidenceError(
            f"this deed has the format {found[:50]!r}; this version of modeldeed reads "
            f"{_FORMAT!r}: install a newer one (pip install -U modeldeed) to check it"
        )
