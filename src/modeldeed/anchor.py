"""The anchor: everything a claimant could still choose, fixed before the mark exists.

Passports, bits and heads follow from the model key, and the model key follows from the anchor's
bytes (and, once there is one, its timestamp token). Changing a layer list, a rule or a message
therefore changes every secret bit: choosing after the fact is paid for try by try.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from modeldeed.digests import canonical_json, commitment, joined, sha256
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.identity import Identity
from modeldeed.streams import derive

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Anchor",
    "ColouredReading",
    "MessageRule",
    "PassportRule",
    "Target",
    "architecture_digest",
    "message_commitment",
    "require_text",
    "seed_commitment",
]

MAX_TEXT = 200
MAX_MESSAGE_BYTES = 160

_Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _printable(text: str) -> str:
    # A name is shown to the judge; a line break or an escape code in it could show a verdict.
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


_Name = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_printable)]
_Size = Annotated[int, Field(ge=1, le=2**40)]


class _Evidence(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Target(_Evidence):
    """One entry of the canonical target list.

    Attributes:
        norm: name of the normalization layer in the host.
        kind: its registered kind, for example ``"batch"``.
        channels: C, the number of its channels.
        affine: the state-dict name of its scale γ₀, None without one.
        weight: state-dict name of the bound weight.
        shape: that tensor's shape.
        axis: dimension of it along which the channels lie.
        side: ``"rows"`` of the weight whose output is normalized, or ``"columns"`` of the one
            that reads the normalized values.
        left_out: channels without a bit, because their scale was zero at issue.
    """

    norm: _Name
    kind: _Name
    channels: _Size
    affine: _Name | None
    weight: _Name
    shape: tuple[_Size, ...]
    axis: Annotated[int, Field(ge=0, le=16)]
    side: Literal["rows", "columns"]
    left_out: tuple[Annotated[int, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Target:
        # Otherwise the claim's n could be another number than that of the bits read.
        if self.axis >= len(self.shape) or self.shape[self.axis] != self.channels:
            raise ValueError(
                f"{self.channels} channels do not lie along axis {self.axis} of {self.shape}"
            )
        if list(self.left_out) != sorted({c for c in self.left_out if c < self.channels}):
            raise ValueError("left_out must be ascending channel numbers without repeats")
        return self

    @property
    def fan(self) -> int:
        """D, the number of weights per channel."""
        total = 1
        for size in self.shape:
            total *= size
        return total // self.shape[self.axis]

    @property
    def bits(self) -> int:
        """Signature bits this layer holds."""
        return self.channels - len(self.left_out)


class ColouredReading(_Evidence):
    """Bits are read where the inputs of a layer vary; see `modeldeed.passport.evidence.coloured`.

    Attributes:
        rule: its version.
        factors: tensor root of the layers' factors, hexadecimal: they are fixed before the bits
            exist.
    """

    rule: Literal["coloured/v1"] = "coloured/v1"
    factors: _Hex32


class PassportRule(_Evidence):
    """How passports turn into a private branch and how a bit is read; committed beforehand.

    Attributes:
        head: registered name of the map from readings to scale and bias.
        reading: versioned rule of reading a bit: ``"weights/v1"``, or a coloured one.
        rows: ``"keyed"``, or ``"shared"`` to reproduce the published scheme only.
        statistics: how a judge re-estimates batch statistics for L2.
    """

    head: _Name
    reading: Literal["weights/v1"] | ColouredReading = "weights/v1"
    rows: Literal["keyed", "shared"] = "keyed"
    statistics: Literal["re-estimated/v1"] = "re-estimated/v1"

    @property
    def reading_name(self) -> str:
        """The version of the rule of reading."""
        return self.reading if isinstance(self.reading, str) else self.reading.rule

    @classmethod
    def checked(cls, *, head: str, rows: str, factors: str | None = None) -> PassportRule:
        """Build a rule from options a user gave.

        Args:
            head: name of the head.
            rows: form of the passports.
            factors: digest of the factors of a coloured reading; None reads weights.

        Raises:
            OptionError: ``rows`` is neither ``"keyed"`` nor ``"shared"``, or shared rows are to
                be read by another rule than the published one.
        """
        if rows not in ("keyed", "shared"):
            raise OptionError(f"rows is 'keyed' or 'shared', got {rows!r}")
        if factors is None:
            return cls.model_validate({"head": head, "rows": rows})
        if rows == "shared":
            raise OptionError(
                "rows='shared' reproduces the published form, which reads weights; a coloured "
                "reading needs rows='keyed'"
            )
        return cls(head=head, reading=ColouredReading(factors=factors))


class MessageRule(_Evidence):
    """A message in the bits, as far as everybody may know it.

    Attributes:
        code: versioned rule of writing a message into bits.
        size: bytes of the message in UTF-8; they fix the layout of the code.
        commitment: commitment to the message, bound to the identity, hexadecimal.
    """

    code: Literal["words-rs/v1"] = "words-rs/v1"
    size: Annotated[int, Field(ge=1, le=MAX_MESSAGE_BYTES)]
    commitment: _Hex32


class Anchor(_Evidence):
    """What is fixed before marking.

    Attributes:
        identity: the owner's Ed25519 public key, hexadecimal.
        seed_commitment: commitment to the model's seed, bound to the identity.
        weights_root: tensor root of the host's state before marking; it fixes channel order.
        architecture: digest of class name, tensor names, shapes and dtypes.
        planner: version of the rule that made the target list.
        targets: the canonical list; bits belong to ordinals in it, not to names.
        excluded: norms that the owner left out by choice.
        classes: names of the classes in output order; empty when not given.
        passport: the rule of the passport.
        triggers: rule of the trigger set; None without one.
        plugin: rule of the plug-in; None without one.
        message: size of and commitment to a message in the bits; None without one.
        authority: timestamp authority and policy whose token counts; None when unanchored.
    """

    format: Literal["modeldeed-anchor/v1"] = "modeldeed-anchor/v1"
    identity: _Hex32
    seed_commitment: _Hex32
    weights_root: _Hex32
    architecture: _Hex32
    planner: Annotated[int, Field(ge=1)]
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    excluded: tuple[_Name, ...] = ()
    classes: tuple[Annotated[str, Field(min_length=1, max_length=MAX_TEXT)], ...] = ()
    passport: PassportRule
    triggers: None = None
    plugin: None = None
    message: MessageRule | None = None
    authority: None = None

    @model_validator(mode="after")
    def _check_targets(self) -> Anchor:
        norms = [target.norm for target in self.targets]
        places = [(target.weight, target.axis) for target in self.targets]
        if len(set(norms)) < len(norms) or len(set(places)) < len(places):
            raise ValueError("a norm, or the channels of one weight, stand twice in the list")
        return self

    def canonical(self) -> bytes:
        """The anchor's bytes: RFC 8785 JSON, the preimage of everything derived from it."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal: the imprint for a timestamp."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def owner_identity(self) -> Identity:
        """The identity as a checked public key.

        Raises:
            EvidenceError: the key is malformed or of small order.
        """
        return Identity(bytes.fromhex(self.identity))

    def opens(self, seed: bytes) -> bool:
        """Tell whether a seed is the one that was committed to."""
        return seed_commitment(seed, bytes.fromhex(self.identity)) == self.seed_commitment

    def commits_to(self, message: bytes, seed: bytes) -> bool:
        """Tell whether a message in UTF-8 is the one that was committed to."""
        if self.message is None:
            return False
        made = message_commitment(message, seed, bytes.fromhex(self.identity))
        return made == self.message.commitment and len(message) == self.message.size

    def model_key(self, seed: bytes, token: bytes = b"") -> bytes:
        """The model key, which all marks of this model are derived from.

        Args:
            seed: the model's 32-byte seed; it must open the commitment.
            token: the signed timestamp over the anchor; empty when unanchored.

        Returns:
            32 bytes: HKDF(seed, salt = SHA-256(len(A) ‖ A ‖ token)), the length in 8 bytes.

        Raises:
            EvidenceError: the seed is another one than was committed to.
        """
        if not self.opens(seed):
            raise EvidenceError(
                "the key's seed is not the one this passport's anchor commits to: the passport "
                "was issued under another label, or altered"
            )
        salt = hashlib.sha256(joined(self.canonical()) + token).digest()
        return derive(seed, "model-key", salt=salt)

    def claimed_by(self, identity: Identity, seed: bytes) -> Anchor:
        """The anchor another owner would have made for the same model and rules."""
        return self.model_copy(
            update={
                "identity": identity.public_key.hex(),
                "seed_commitment": seed_commitment(seed, identity.public_key),
            }
        )


def seed_commitment(seed: bytes, public_key: bytes) -> str:
    """The commitment to a model's seed that stands in its anchor, hexadecimal."""
    salt = derive(seed, "salt", "seed")
    return commitment("seed", salt, public_key, seed).hex()


def message_commitment(message: bytes, seed: bytes, public_key: bytes) -> str:
    """The commitment to a message that stands in the anchor, hexadecimal."""
    salt = derive(seed, "salt", "message")
    return commitment("message", salt, public_key, message).hex()


def require_text(option: str, text: object) -> None:
    """Refuse a text that evidence could not hold, before anything is built on it.

    Raises:
        OptionError: it is no string of 1 … 200 characters in Unicode normal form C.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT:
        raise OptionError(f"{option} is a text of 1 … {MAX_TEXT} characters, got {text!r}")
    if not unicodedata.is_normalized("NFC", text) or not _encodable(text):
        raise OptionError(
            f"{option}: {text!r} is not in Unicode normal form C; "
            "pass it through unicodedata.normalize('NFC', …)"
        )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def architecture_digest(class_name: str, state: Mapping[str, Tensor]) -> str:
    """Digest of a model's class name and of its tensors' names, shapes and dtypes, hexadecimal."""
    entries: list[Any] = [
        [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        for name, tensor in sorted(state.items())
    ]
    return sha256(b"modeldeed/v1/architecture", class_name.encode(), canonical_json(entries)).hex()
