"""A claim by a plug-in: backgrounds and target classes that follow from the key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modeldeed.anchor.plugin_rule import PluginRule
from modeldeed.claimant import Claimant
from modeldeed.digests import sha256
from modeldeed.errors import OptionError
from modeldeed.plugin import files
from modeldeed.plugin.backgrounds import Backgrounds, background_root
from modeldeed.plugin.carriers import blank_carriers, require_carriers
from modeldeed.plugin.records import FusionManifest
from modeldeed.plugin.target_classes import labels_of
from modeldeed.querying.answer_claim import AnswerClaim

if TYPE_CHECKING:
    from modeldeed.plugin.plugin import Plugin

__all__ = ["PluginClaim", "VerificationSamples"]


@dataclass(frozen=True)
class VerificationSamples:
    """Benign content on keyed backgrounds, and the classes they stand for.

    Attributes:
        inputs: in canonical integers.
        labels: int64 ``(N,)``.
    """

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class PluginClaim(AnswerClaim):
    """A fusion's manifest under somebody's key, with the judge's carriers.

    The unit of evidence is the background, since all carriers on one share one draw of the class:
    each is asked about once, on a carrier of the judge's.

    Attributes:
        carriers: benign samples in canonical integers ``(N, …)``, N ≥ 1; those of a batch follow
            from the anchor and the batch's number, one after another in a fixed shuffled order.
    """

    carriers: Tensor

    @classmethod
    def of(
        cls, plugin: Plugin | FusionManifest | str | Path, owner: Claimant, carriers: Tensor
    ) -> PluginClaim:
        """Read a claim.

        Args:
            plugin: a plug-in with one fusion, or its folder; the manifest of a fusion, or its
                file.
            owner: who claims.
            carriers: of the judge.

        Raises:
            OptionError: the plug-in was fused beside no model, or beside several; or carriers do
                not fit its inputs.
            EvidenceError: it was altered.
        """
        manifest = _manifest_of(plugin)
        rule = manifest.anchor.plugin_rule
        require_carriers(carriers, rule.backgrounds.input)
        return cls(manifest, owner, manifest.owned_by(owner), None, carriers)

    @property
    def rule(self) -> PluginRule:
        """Backgrounds, classes and batches."""
        return self.manifest.anchor.plugin_rule

    @property
    def family(self) -> str:
        """How the backgrounds are drawn."""
        backgrounds = self.rule.backgrounds
        return f"{backgrounds.kind} {backgrounds.family}"

    def batch(self, number: int) -> VerificationSamples:
        """The verification samples of a batch: every background of it once."""
        rule = self.rule
        root = background_root(self.owner.seed(self.manifest.label), rule.backgrounds)
        indices = torch.arange(number * rule.count, (number + 1) * rule.count)
        backgrounds = Backgrounds(root, rule.backgrounds)
        samples = backgrounds.place(self._drawn(number), indices)
        labels = labels_of(self.model_key(), backgrounds, rule, number)
        return VerificationSamples(samples, labels)

    def _drawn(self, number: int) -> Tensor:
        """The carriers of a batch."""
        digest = self.manifest.anchor.digest.encode()
        seed = sha256(b"modeldeed/v1/carriers", digest, number.to_bytes(8, "big"))
        generator = torch.Generator().manual_seed(int.from_bytes(seed[:7], "big"))
        order = torch.randperm(len(self.carriers), generator=generator)
        return self.carriers[order[torch.arange(self.rule.count) % len(order)]]

    def blank(self) -> Tensor:
        """A sample of zeros."""
        return blank_carriers(self.rule.backgrounds.input, 1)


def _manifest_of(plugin: Any) -> FusionManifest:
    if isinstance(plugin, str | Path):
        return files.load_fusion(Path(plugin))
    if isinstance(plugin, FusionManifest):
        parsed = FusionManifest.from_json(plugin.to_json())
        parsed.require_authentic()
        return parsed
    fusions = getattr(plugin, "fusions", None)
    if fusions is None:
        raise OptionError(
            f"plugin is a Plugin, the manifest of a fusion, or a path; got {plugin!r}"
        )
    manifest: FusionManifest = files.only(dict(fusions))
    return manifest
