"""What a caller may give as a mark, and the signed manifest that a deed takes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import save as serialize_tensors

from modeldeed.errors import OptionError
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner
from modeldeed.passport.evidence import files as passport_files
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.passport import Passport
from modeldeed.plugin import files as plugin_files
from modeldeed.plugin.plugin import Plugin
from modeldeed.triggers import manifest as trigger_files
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["manifests_of"]


def manifests_of(marks: Iterable[Any] | Any, owner: Owner) -> tuple[SignedManifest, ...]:
    """The manifests of some marks, each once, those of passports first.

    Args:
        marks: passports, trigger sets, plug-ins with one fusion, manifests, or folders or files
            of these.
        owner: whose they must be.

    Raises:
        OptionError: one is something else, or there is none.
        EvidenceError: one was altered, is somebody else's, or is not anchored yet.
    """
    listed = [marks] if isinstance(marks, str | Path) or not isinstance(marks, Iterable) else marks
    found: dict[str, SignedManifest] = {}
    for mark in listed:
        manifest = _manifest_of(mark, owner)
        manifest.model_key(owner)
        known = found.setdefault(manifest.anchor.digest, manifest)
        if known.model_copy(update={"signature": ""}) != manifest.model_copy(
            update={"signature": ""}
        ):
            raise OptionError(
                f"two different manifests of one anchor, {manifest.anchor.digest[:16]}…: give the "
                "passport once, as it was last saved; its triggers are in it"
            )
    if not found:
        raise OptionError("a deed is about at least one mark: give marks=[passport]")
    return tuple(sorted(found.values(), key=lambda m: (not isinstance(m, Manifest), m.mark)))


def _manifest_of(mark: Any, owner: Owner) -> SignedManifest:
    if isinstance(mark, Passport):
        state = hashlib.sha256(serialize_tensors(mark.state())).hexdigest()
        return mark.manifest.signed_by(owner, state=state)
    if isinstance(mark, TriggerSet):
        if isinstance(mark.manifest, Manifest):
            raise OptionError("these triggers are a passport's: give the passport instead")
        return mark.manifest.signed(owner)
    if isinstance(mark, Plugin):
        return plugin_files.only(mark.fusions).signed(owner)
    if isinstance(mark, SignedManifest):
        parsed = type(mark).from_json(mark.to_json())
        parsed.require_authentic()
        return parsed
    if isinstance(mark, str | Path):
        return _loaded(Path(mark))
    raise OptionError(
        "a mark is a Passport, a TriggerSet, a Plugin, the manifest of one, or its folder; got "
        f"{mark!r}"
    )


def _loaded(path: Path) -> SignedManifest:
    if path.is_file():
        return plugin_files.load_fusion(path)
    if (path / passport_files.MANIFEST).exists():
        return passport_files.load_manifest(path)
    if (path / trigger_files.MANIFEST).exists():
        return trigger_files.load(path)
    if (path / plugin_files.RECORD).exists():
        return plugin_files.load_fusion(path)
    raise OptionError(f"{path} is no folder of a passport, of a trigger set or of a plug-in")
