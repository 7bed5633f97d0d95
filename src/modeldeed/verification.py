"""Verify a claim against a suspect: the one entry point over all marks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.export import ExportedProgram

from modeldeed.anchoring.standing import Trusted, standing_of_claim
from modeldeed.claimant import Claimant
from modeldeed.deed import Deed, Opening
from modeldeed.deed.aligning import Alignable, own_check
from modeldeed.deed.verifying import verify_deed
from modeldeed.errors import OptionError
from modeldeed.manifest import SignedManifest
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.private_check import DEFAULT_DECOYS, JudgeData, Progress
from modeldeed.passport.examination import WHITE_BOX, BranchCheck, examine_weights
from modeldeed.passport.passport import Passport
from modeldeed.plugin.records import FusionManifest
from modeldeed.querying.query import query
from modeldeed.results import Report
from modeldeed.suspects.answering import Endpoint, Suspect, is_answering_path
from modeldeed.suspects.onnx_weights import is_onnx
from modeldeed.triggers.trigger_set import TriggerSet

if TYPE_CHECKING:
    from modeldeed.plugin.plugin import Plugin

__all__ = ["UNANCHORED", "verify"]

UNANCHORED = WHITE_BOX


def verify(
    suspect: Any,
    *,
    passport: Passport | Manifest | str | Path | None = None,
    triggers: TriggerSet | SignedManifest | str | Path | None = None,
    plugin: Plugin | FusionManifest | str | Path | None = None,
    carriers: Tensor | None = None,
    owner: Claimant | None = None,
    trust: Trusted | None = None,
    deed: Deed | str | Path | None = None,
    opening: Opening | str | Path | None = None,
    nonce: str | None = None,
    reference: str | Path | nn.Module | None = None,
    unmarked: str | Path | Mapping[str, Tensor] | nn.Module | None = None,
    reference_model: nn.Module | None = None,
    align: bool = False,
    model: nn.Module | None = None,
    data: JudgeData | None = None,
    decoys: int = DEFAULT_DECOYS,
    decoy_seed: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Verify an owner's claim to a suspect.

    L1 reads the signature from the suspect's weights alone and decides. L2 runs when model code
    and the judge's data are given; it supports or contradicts and never decides. L3 asks a suspect
    that can only be asked, and keeps no transcript: for models of your own. A judge
    takes `modeldeed.query`.

    Args:
        suspect: weights: a safetensors file; a checkpoint of several, by its index or its folder;
            a state dict; or a module. Or what can be asked: an ONNX file, an endpoint's
            configuration, an exported program, an open suspect. For an aligned reading the
            weights of an ONNX file are read.
        passport: the claim: a passport, or the folder it was saved to.
        triggers: the claim to a suspect that is asked, where it is a trigger set alone; a module
            is then asked as well.
        plugin: the claim to a suspect that is asked, where it is a plug-in.
        carriers: with ``plugin``: benign samples of the judge's own, in canonical integers.
        owner: whose claim it is, by the owner's secret or by one model's opened seed; not needed
            with an opening.
        trust: the authorities whose timestamps you believe. Where one of them signed the claim's
            anchor, the claim pays for 2²⁰ keys tried beforehand; otherwise for 2⁶⁴.
        deed: the claim instead: a deed or its folder, with ``opening``. The marks are examined
            under the rule that it commits to. ``passport`` may then be the passport's folder, for
            learned heads and coloured readings. ``trust`` must be a trust file.
        opening: what the owner shows of the deed's secrets for this suspect, or its file.
        nonce: that you drew for this dispute, hexadecimal.
        reference: the deed's own model; a deed whose reference is not shown, or does not carry the
            mark by direct reading, is void. Without a deed, with ``align``: the marked model as it
            shipped, which may be a module.
        unmarked: the anchor's exhibit, the weights before marking, for an aligned reading.
        reference_model: an instance of the reference's architecture, likewise; None takes a copy
            of ``model``, or of a suspect that is a module.
        align: read aligned where the direct reading does not verify. With a deed, ``unmarked`` or
            ``reference_model`` ask for that as well; without one it is no evidence.
        model: an instance of the suspect's architecture, for L2, where its weights are replaced by
            the suspect's, and for an aligned reading; an ONNX file needs none.
        data: the judge's own data, for L2.
        decoys: wrong keys tried in L2.
        decoy_seed: of the wrong keys, recorded in the report; None draws one.
        progress: told about L2's wrong keys.

    Returns:
        The report; its verdict is ``verified``, ``not verified`` or ``inconclusive``. A key of
        another owner than the passport's is never verified.

    Raises:
        EvidenceError: the passport was altered, the key cannot open it though the identity is
            the same, its timestamp is not of the trusted authority that its anchor names, or the
            trust file revokes the identity and the anchor is not proven to be older.
        SuspectError: the suspect cannot be read, or lacks tensors of the claim.
        OptionError: not exactly one of ``passport``, ``triggers`` and ``plugin`` is given and no
            deed, or only one of ``model`` and ``data``, or of ``deed`` and ``opening``; or a
            manifest alone whose reading is coloured: its factors lie in the passport's folder.

    Example:
        >>> import torch
        >>> host = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16))
        >>> from modeldeed import Owner
        >>> owner = Owner.generate()
        >>> passport = Passport.issue(host, owner, example=torch.rand(2, 1, 8, 8))
        >>> verify(host, passport=passport, owner=owner).verdict.value
        'inconclusive'
    """
    align = align or unmarked is not None or reference_model is not None
    if data is not None and model is None:
        raise OptionError("data go with model: level 2 needs both")
    if model is not None and data is None and not align:
        raise OptionError("model and data go together: level 2 needs both; or ask for align=True")
    branch: BranchCheck | None = None
    if model is not None and data is not None:
        branch = BranchCheck(model, data, decoys, decoy_seed, progress)
    alignable = Alignable(model, reference, reference_model, unmarked) if align else None
    asked = _can_only_answer(suspect) and (alignable is None or not _is_onnx(suspect))
    if branch is not None and _is_onnx(suspect):
        raise OptionError("level 2 needs the weights in model code; leave out data=... for ONNX")
    if deed is not None or opening is not None:
        if isinstance(reference, nn.Module):
            raise OptionError("a deed is about files: give its reference as one, or as a folder")
        return verify_deed(
            suspect,
            deed=deed,
            opening=opening,
            asked=asked,
            trust=trust,
            nonce=nonce,
            reference=reference,
            claims=(passport, triggers, plugin, owner),
            carriers=carriers,
            branch=branch,
            alignable=alignable,
        )
    if owner is None or nonce is not None or (reference is not None and alignable is None):
        raise OptionError(
            "a claim without a deed needs owner=...; nonce belongs to a deed, and so does "
            "reference without align=True"
        )
    if [passport, triggers, plugin].count(None) != 2:
        raise OptionError(
            "give one claim: passport=..., triggers=... for a trigger set alone, or plugin=..."
        )
    if passport is None or asked:
        if model is not None or alignable is not None:
            raise OptionError("levels 1 and 2 read weights; this suspect is asked")
        claimed = triggers if passport is None else passport
        return query(
            suspect, triggers=claimed, plugin=plugin, carriers=carriers, owner=owner, trust=trust
        )
    claim = PassportClaim.of(passport, owner)
    aligned = None if alignable is None else own_check(suspect, alignable, claim)
    standing = standing_of_claim(claim.manifest, owner.identity, trust)
    return examine_weights(suspect, claim, standing, branch=branch, aligned=aligned)


def _can_only_answer(suspect: Any) -> bool:
    if isinstance(suspect, str | Path):
        return is_answering_path(suspect)
    return isinstance(suspect, Suspect | Endpoint | ExportedProgram)


def _is_onnx(suspect: Any) -> bool:
    return isinstance(suspect, str | Path) and is_onnx(suspect)
