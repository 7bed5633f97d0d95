"""Verify a claim against a suspect: the one entry point over all marks."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.export import ExportedProgram

from modeldeed._version import __version__
from modeldeed.errors import OptionError
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner
from modeldeed.passport.evidence import files
from modeldeed.passport.evidence.coloured import Factors, require_factors, seen_weights
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.message import codewords_of
from modeldeed.passport.evidence.private_check import (
    DEFAULT_DECOYS,
    JudgeData,
    Progress,
    check_branch,
)
from modeldeed.passport.evidence.reading import judge_signature, load_layers, read_signature
from modeldeed.passport.passport import Passport
from modeldeed.plugin.records import FusionManifest
from modeldeed.querying.query import query
from modeldeed.results import BranchEvidence, Report, SignatureEvidence, Support, Verdict
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights
from modeldeed.suspects.answering import Endpoint, Suspect, is_answering_path
from modeldeed.suspects.loading import load_weights
from modeldeed.suspects.restored import restore
from modeldeed.triggers.trigger_set import TriggerSet

if TYPE_CHECKING:
    from modeldeed.plugin.plugin import Plugin

__all__ = ["verify"]

logger = logging.getLogger(__name__)

UNANCHORED = Budget(alpha_log2=64, grinding_log2=64)


def verify(
    suspect: Any,
    *,
    passport: Passport | Manifest | str | Path | None = None,
    triggers: TriggerSet | SignedManifest | str | Path | None = None,
    plugin: Plugin | FusionManifest | str | Path | None = None,
    carriers: Tensor | None = None,
    owner: Owner,
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
            configuration, an exported program, an open suspect.
        passport: the claim: a passport, or the folder it was saved to.
        triggers: the claim to a suspect that is asked, where it is a trigger set alone; a module
            is then asked as well.
        plugin: the claim to a suspect that is asked, where it is a plug-in.
        carriers: with ``plugin``: benign samples of the judge's own, in canonical integers.
        owner: whose claim it is.
        model: an instance of the suspect's architecture, for L2; its weights are replaced by the
            suspect's.
        data: the judge's own data, for L2.
        decoys: wrong keys tried in L2.
        decoy_seed: of the wrong keys, recorded in the report; None draws one.
        progress: told about L2's wrong keys.

    Returns:
        The report; its verdict is ``verified``, ``not verified`` or ``inconclusive``. A key of
        another owner than the passport's is never verified.

    Raises:
        EvidenceError: the passport was altered, or the key cannot open it though the identity is
            the same.
        SuspectError: the suspect cannot be read, or lacks tensors of the claim.
        OptionError: not exactly one of ``passport``, ``triggers`` and ``plugin`` is given, or only
            one of ``model`` and ``data``; or a manifest alone whose reading is coloured: its
            factors lie in the passport's folder.

    Example:
        >>> import torch
        >>> host = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16))
        >>> owner = Owner.generate()
        >>> passport = Passport.issue(host, owner, example=torch.rand(2, 1, 8, 8))
        >>> verify(host, passport=passport, owner=owner).verdict.value
        'inconclusive'
    """
    if (model is None) != (data is None):
        raise OptionError("model and data go together: level 2 needs both")
    if [passport, triggers, plugin].count(None) != 2:
        raise OptionError(
            "give one claim: passport=..., triggers=... for a trigger set alone, or plugin=..."
        )
    if passport is None or _can_only_answer(suspect):
        if model is not None:
            raise OptionError("levels 1 and 2 read weights; this suspect is asked")
        asked = triggers if passport is None else passport
        return query(suspect, triggers=asked, plugin=plugin, carriers=carriers, owner=owner)
    manifest, heads, factors = _claim(passport)
    anchor = manifest.anchor
    owns = owner.identity == anchor.owner_identity()
    key = manifest.model_key(owner) if owns else manifest.wrong_key(owner)
    weights = restore(open_weights(suspect), anchor.targets)
    layers = load_layers(*seen_weights(weights, anchor.targets, factors))
    # Hashing takes longer than reading, and both leave the other a core.
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(weights.digest)
        signature = read_signature(
            layers,
            key,
            UNANCHORED,
            rows=anchor.passport_rule.rows,
            codewords=codewords_of(key, anchor.targets, manifest.message),
        )
        suspect_digest = digest.result()
    weights.require_unchanged()
    signature = signature.model_copy(update={"reading": anchor.passport_rule.reading_name})
    verdict, reason = judge_signature(signature, UNANCHORED)
    if not owns:
        verdict = Verdict.NOT_VERIFIED
        reason = f"the key is not this passport's; read under it, {reason}"
    branch: BranchEvidence | None = None
    if model is not None and data is not None:
        load_weights(model, weights)
        branch = check_branch(
            model,
            anchor,
            key,
            data,
            heads=heads,
            factors=factors,
            decoys=decoys,
            seed=decoy_seed,
            progress=progress,
        )
        branch = _bounded_by(verdict, branch)
    return Report(
        verdict=verdict,
        reason=reason,
        identity=owner.identity.fingerprint,
        anchored=False,
        suspect=weights.label,
        suspect_digest=suspect_digest,
        anchor_digest=anchor.digest,
        signature=signature,
        branch=branch,
        warnings=_warnings(signature, anchor.passport_rule.rows),
        version=__version__,
    )


def _can_only_answer(suspect: Any) -> bool:
    if isinstance(suspect, str | Path):
        return is_answering_path(suspect)
    return isinstance(suspect, Suspect | Endpoint | ExportedProgram)


def _bounded_by(verdict: Verdict, branch: BranchEvidence) -> BranchEvidence:
    """Let the private branch support a claim only where the signature carries it.

    Wrong keys are exchangeable with a key that was not chosen; rank p-values pay for no choice.
    """
    if branch.word is not Support.SUPPORTS or verdict is Verdict.VERIFIED:
        return branch
    reason = f"{branch.reason}; but the signature does not carry this claim, and keys can be tried"
    return branch.model_copy(update={"word": Support.UNINFORMATIVE, "reason": reason})


def _claim(
    passport: Passport | Manifest | str | Path | None,
) -> tuple[Manifest, dict[str, Tensor] | None, Factors | None]:
    """The manifest, the trained parameters of learned heads, the factors of a coloured reading."""
    if isinstance(passport, Passport):
        heads = dict(passport.branch.heads.named_parameters())
        trained = {n: p.detach() for n, p in heads.items()}
        anchor, factors = passport.manifest.anchor, passport.branch.factors
        if isinstance(anchor.passport_rule.reading, str):
            return passport.manifest, trained or None, None
        require_factors(factors, anchor.passport_rule.reading.factors, anchor.targets)
        return passport.manifest, trained or None, factors
    if isinstance(passport, Manifest):
        passport = Manifest.from_json(passport.to_json())
        passport.require_authentic()
        rule = passport.anchor.passport_rule
        if not isinstance(rule.reading, str):
            raise OptionError(
                f"this passport is read by {rule.reading_name}, which needs "
                "the factors beside its manifest: give the folder it was saved to"
            )
        return passport, None, None
    if passport is None:
        raise OptionError("weights are examined for a passport: give passport=...")
    manifest, state = files.load(Path(passport))
    prefix = "head."
    trained = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    return manifest, trained or None, files.factors_of(manifest, state)


def _warnings(signature: SignatureEvidence, rows: str) -> tuple[str, ...]:
    warnings = []
    undecided = sum(layer.undecided for layer in signature.layers)
    if undecided:
        warnings.append(
            f"unreadable bits, counted as mismatches: {undecided} (zero rows, zero scales or NaN)"
        )
    if rows == "shared":
        warnings.append(
            "the passport uses shared rows (the published form): they can be read and removed "
            "without the key"
        )
    for warning in warnings:
        logger.warning(warning)
    return tuple(warnings)
