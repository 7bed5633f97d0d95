"""The anchor itself: what it holds, and the model key that follows from it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from modeldeed.anchor.commitments import message_commitment, seed_commitment
from modeldeed.anchor.passport_rule import MessageRule, PassportRule, Target
from modeldeed.anchor.plugin_rule import PluginRule
from modeldeed.anchor.probe_input import ProbeInput
from modeldeed.anchor.trigger_rule import TriggerRule
from modeldeed.digests import canonical_json, joined
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import ClassName, EvidenceModel, Hex32, Name
from modeldeed.identity import Identity
from modeldeed.streams import derive
from modeldeed.timestamping.authority import Authority

__all__ = ["Anchor"]


class Anchor(EvidenceModel):
    """What is fixed before marking.

    Attributes:
        identity: the owner's Ed25519 public key, hexadecimal.
        seed_commitment: commitment to the model's seed, bound to the identity.
        weights_root: tensor root of the host's state before marking; it fixes channel order. None
            for an answering mark that was issued without the model.
        architecture: digest of class name, tensor names, shapes and dtypes; None likewise.
        planner: version of the rule that made the target list; None without a passport.
        targets: the canonical list; bits belong to ordinals in it, not to names. Empty without a
            passport.
        excluded: norms that the owner left out by choice.
        classes: names of the classes in output order; empty when not given.
        passport: the rule of the passport; None without one.
        triggers: rule of the trigger set; None without one.
        plugin: rule of the plug-in; None without one.
        message: size of and commitment to a message in the bits; None without one.
        authority: the authority and policy whose timestamp token counts; None when unanchored.
        probes: what inputs the host takes, for aligned readings; None where there are none.
    """

    format: Literal["modeldeed-anchor/v1"] = "modeldeed-anchor/v1"
    identity: Hex32
    seed_commitment: Hex32
    weights_root: Hex32 | None
    architecture: Hex32 | None
    planner: Annotated[int, Field(ge=1)] | None
    targets: tuple[Target, ...]
    excluded: tuple[Name, ...] = ()
    classes: tuple[ClassName, ...] = ()
    passport: PassportRule | None
    triggers: TriggerRule | None = None
    plugin: PluginRule | None = None
    message: MessageRule | None = None
    authority: Authority | None = None
    probes: ProbeInput | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An anchor that says nothing of inputs has the bytes of one without such a field.
        fields: dict[str, Any] = handler(self)
        if self.probes is None:
            fields.pop("probes", None)
        return fields

    @model_validator(mode="after")
    def _check_targets(self) -> Anchor:
        norms = [target.norm for target in self.targets]
        places = [(target.weight, target.axis) for target in self.targets]
        if len(set(norms)) < len(norms) or len(set(places)) < len(places):
            raise ValueError("a norm, or the channels of one weight, stand twice in the list")
        return self

    @model_validator(mode="after")
    def _check_marks(self) -> Anchor:
        if not (self.passport or self.triggers or self.plugin):
            raise ValueError("no mark is anchored: neither passport, trigger set nor plug-in")
        known = (self.planner, self.weights_root, self.architecture)
        if self.passport is not None and (not self.targets or None in known):
            raise ValueError("a passport needs targets, their planner, and the model's digests")
        rest = (self.targets, self.excluded, self.planner, self.message, self.probes)
        if self.passport is None and any(rest):
            raise ValueError(
                "targets, planner, message, probes belong to a passport, and there is none"
            )
        for mark, rule in (("triggers", self.triggers), ("a plug-in", self.plugin)):
            if rule and self.classes and len(self.classes) != rule.classes:
                raise ValueError(
                    f"{len(self.classes)} names of classes, but {mark} of {rule.classes}"
                )
        return self

    @property
    def passport_rule(self) -> PassportRule:
        """The rule of the passport.

        Raises:
            EvidenceError: this anchor holds none.
        """
        if self.passport is None:
            raise EvidenceError("this anchor holds no passport")
        return self.passport

    @property
    def trigger_rule(self) -> TriggerRule:
        """The rule of the trigger set.

        Raises:
            EvidenceError: this anchor holds none.
        """
        if self.triggers is None:
            raise EvidenceError("this anchor holds no trigger set")
        return self.triggers

    @property
    def plugin_rule(self) -> PluginRule:
        """The rule of the plug-in.

        Raises:
            EvidenceError: this anchor holds none.
        """
        if self.plugin is None:
            raise EvidenceError("this anchor holds no plug-in")
        return self.plugin

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
            token: τ, the signed content of the timestamp over the anchor, never the whole token,
                whose other bytes anybody can change; empty when unanchored.

        Returns:
            32 bytes: HKDF(seed, salt = SHA-256(len(A) ‖ A ‖ τ)), the length in 8 bytes.

        Raises:
            EvidenceError: the seed is another one than was committed to; the anchor names an
                authority and there is no token; or there is one and it names none.
        """
        if self.authority is not None and not token:
            raise EvidenceError(
                f"not anchored yet: the key follows from a token of {self.authority.name} over "
                "this anchor; send the request, and accept what the authority answers"
            )
        if self.authority is None and token:
            raise EvidenceError("a timestamp token, but this anchor names no authority for one")
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
