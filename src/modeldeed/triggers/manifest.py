"""The manifest of a trigger set, and its place on disk."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import MAX_BYTES, SignedManifest
from modeldeed.owner import Owner
from modeldeed.passport.evidence import files as passport_files
from modeldeed.storage import bounded_bytes, write_atomically

__all__ = ["TriggerManifest", "load", "save"]

MANIFEST = "triggers.json"


class TriggerManifest(SignedManifest):
    """A trigger set's manifest.

    Attributes:
        anchor: what was fixed before marking.
        label: the owner's name for the model; selects the seed.
        signature: Ed25519 over all other fields, base64; empty while unsigned.
    """

    mark: ClassVar[str] = "trigger set"

    format: Literal["modeldeed-triggers/v1"] = "modeldeed-triggers/v1"

    @model_validator(mode="after")
    def _check_mark(self) -> TriggerManifest:
        if self.anchor.triggers is None:
            raise ValueError("its anchor holds no trigger set")
        if self.anchor.passport is not None:
            raise ValueError("its anchor holds a passport as well, whose manifest counts")
        return self


def save(folder: Path, manifest: TriggerManifest, owner: Owner) -> None:
    """Write a signed manifest to a folder, in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MANIFEST, manifest.signed(owner).to_json())


def load(folder: Path) -> SignedManifest:
    """Read and authenticate what anchors a trigger set: its manifest, or that of a passport.

    Raises:
        OptionError: the folder holds neither.
        EvidenceError: the manifest is malformed or altered, or there is no trigger set in it.
    """
    if not (folder / MANIFEST).exists():
        if not (folder / passport_files.MANIFEST).exists():
            raise OptionError(
                f"{folder} is no folder of a trigger set: it has neither {MANIFEST} nor "
                f"{passport_files.MANIFEST}"
            )
        passport = passport_files.load_manifest(folder)
        if passport.anchor.triggers is None:
            raise EvidenceError(
                f"{folder}: this passport was issued without triggers; only its weights can be "
                "examined"
            )
        return passport
    manifest = TriggerManifest.from_json(bounded_bytes(folder / MANIFEST, MAX_BYTES))
    manifest.require_authentic()
    return manifest
