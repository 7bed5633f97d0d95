"""What a deed commits to of each mark: field by field, so that each can be opened alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modeldeed.anchor import Anchor
from modeldeed.deed.batches import batch_secrets
from modeldeed.digests import canonical_json, commitment
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import SignedManifest
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.plugin.records import FusionManifest
from modeldeed.streams import derive

__all__ = [
    "ANSWERING",
    "FIELDS",
    "KINDS",
    "Commitments",
    "batch_commitment",
    "committed",
    "field_commitment",
    "kinds_of",
    "values_of",
]

_Field = Callable[[SignedManifest], Any]


def _own(name: str) -> _Field:
    """A field of the manifest itself."""
    return lambda manifest: manifest.model_dump(mode="json")[name]


def _anchored(name: str) -> _Field:
    """A field of the anchor."""
    # An anchor without probes does not name them.
    return lambda manifest: manifest.anchor.model_dump(mode="json").get(name)


def _rule(name: str) -> _Field:
    """A field of the passport's rule."""
    return lambda manifest: manifest.anchor.passport_rule.model_dump(mode="json")[name]


_OF_ALL: dict[str, _Field] = {
    "format": _own("format"),
    "label": _own("label"),
    **{name: _anchored(name) for name in ("weights_root", "architecture", "classes", "authority")},
}
FIELDS: dict[str, dict[str, _Field]] = {
    "passport": {
        **_OF_ALL,
        **{name: _own(name) for name in ("calls", "message", "state")},
        **{name: _anchored(name) for name in ("planner", "targets", "excluded", "probes")},
        "message_rule": _anchored("message"),
        **{name: _rule(name) for name in ("head", "reading", "rows", "statistics")},
    },
    "triggers": {**_OF_ALL, "triggers": _anchored("triggers")},
    "plugin": {**_OF_ALL, "plugin": _anchored("plugin")},
}
"""Which fields of which kind of mark are committed to, and where they stand."""

KINDS = tuple(FIELDS)
ANSWERING = ("triggers", "plugin")
"""Kinds that are asked for answers, whose batches are opened one by one."""


def kinds_of(manifest: SignedManifest) -> tuple[str, ...]:
    """The kinds of mark that one anchor fixes.

    Raises:
        OptionError: it is no manifest of a mark that a deed knows.
    """
    anchor = manifest.anchor
    if isinstance(manifest, FusionManifest):
        return ("plugin",)
    if isinstance(manifest, Manifest):
        return ("passport", "triggers") if anchor.triggers is not None else ("passport",)
    if anchor.triggers is not None:
        return ("triggers",)
    raise OptionError(f"a deed knows no mark such as {manifest!r}")


def values_of(kind: str, manifest: SignedManifest) -> dict[str, bytes]:
    """The committed values of a mark, each as canonical JSON.

    Raises:
        EvidenceError: the manifest is not of that kind of mark.
    """
    if kind not in FIELDS or kind not in kinds_of(manifest):
        raise EvidenceError(f"this {manifest.mark}'s manifest is not of a mark {kind!r}")
    return {name: canonical_json(find(manifest)) for name, find in FIELDS[kind].items()}


class Commitments:
    """The salts and commitments of one mark in one deed.

    Args:
        kind: of the mark.
        anchor: its anchor.
        tensor_root: of the deed's model, hexadecimal: every deed has salts of its own.
        seed: that the salts follow from, 32 bytes.
    """

    def __init__(self, kind: str, anchor: Anchor, tensor_root: str, seed: bytes) -> None:
        self.kind = kind
        self._identity = bytes.fromhex(anchor.identity)
        self._place = (tensor_root, anchor.digest, kind)
        self._seed = seed

    def salt(self, field: str) -> bytes:
        """The salt of a field, 32 bytes: showing it shows no other one."""
        return derive(self._seed, "salt", "deed", *self._place, "field", field)

    def batch_salt(self, number: int) -> bytes:
        """The salt of a batch, 32 bytes."""
        return derive(self._seed, "salt", "deed", *self._place, "batch", number)

    def fields(self, manifest: SignedManifest) -> dict[str, str]:
        """The commitment to each field, hexadecimal."""
        return {
            name: field_commitment(self.kind, name, self.salt(name), self._identity, value)
            for name, value in values_of(self.kind, manifest).items()
        }

    def batches(self, manifest: SignedManifest) -> tuple[str, ...]:
        """The commitment to the secrets of each batch, hexadecimal; empty without batches."""
        if self.kind not in ANSWERING:
            return ()
        secrets = batch_secrets(self.kind, manifest, self._seed)
        return tuple(
            batch_commitment(
                self.kind, number, self.batch_salt(number), self._identity, secret.value()
            )
            for number, secret in enumerate(secrets)
        )


def committed(
    kind: str, manifest: SignedManifest, tensor_root: str, seed: bytes
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """All commitments of a mark: by field, and by batch.

    Args:
        kind: of the mark.
        manifest: authenticated.
        tensor_root: of the deed's model.
        seed: of the manifest's label.
    """
    made = Commitments(kind, manifest.anchor, tensor_root, seed)
    return made.fields(manifest), made.batches(manifest)


def field_commitment(kind: str, field: str, salt: bytes, identity: bytes, value: bytes) -> str:
    """The commitment to one field's canonical JSON, hexadecimal."""
    return commitment(f"deed/{kind}/{field}", salt, identity, value).hex()


def batch_commitment(kind: str, number: int, salt: bytes, identity: bytes, value: bytes) -> str:
    """The commitment to one batch's secrets, hexadecimal."""
    return commitment(f"deed/{kind}/batch/{number}", salt, identity, value).hex()
