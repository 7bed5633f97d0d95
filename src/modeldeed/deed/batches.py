"""The secrets of one batch of questions: enough to ask it, and nothing of the other batches.

A trigger's batch has one key. A plug-in's batch has the keys of its backgrounds, which are the same
beside every model, and the key of their target classes, which is this model's alone. So a batch
tells nothing about the plug-in beside other models, as its seed would.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from modeldeed.anchor.plugin_rule import MAX_BACKGROUNDS
from modeldeed.digests import canonical_json
from modeldeed.evidence_model import EvidenceModel, Hex32
from modeldeed.manifest import SignedManifest
from modeldeed.plugin.backgrounds import Backgrounds, background_root
from modeldeed.streams import derive
from modeldeed.triggers.generate import batch_key

__all__ = ["BatchSecret", "batch_secrets"]


class BatchSecret(EvidenceModel):
    """What a batch of questions follows from, with the rule in the anchor.

    Attributes:
        key: of triggers and their labels; of a plug-in's target classes. Hexadecimal.
        backgrounds: the keys of a plug-in's backgrounds in this batch, in order; else empty.
    """

    key: Hex32
    backgrounds: Annotated[tuple[Hex32, ...], Field(max_length=MAX_BACKGROUNDS)] = ()

    def value(self) -> bytes:
        """The committed bytes: canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))


def batch_secrets(kind: str, manifest: SignedManifest, seed: bytes) -> Iterator[BatchSecret]:
    """The secrets of all batches of a mark, in order.

    Args:
        kind: ``"triggers"`` or ``"plugin"``.
        manifest: with the token, if its anchor names an authority.
        seed: of the manifest's label.

    Raises:
        EvidenceError: the seed is not the committed one, or the token is missing.
    """
    key = manifest.anchor.model_key(seed, manifest.signed_time())
    if kind == "triggers":
        for number in range(manifest.anchor.trigger_rule.batches):
            yield BatchSecret(key=batch_key(key, number).hex())
        return
    rule = manifest.anchor.plugin_rule
    backgrounds = Backgrounds(background_root(seed, rule.backgrounds), rule.backgrounds)
    for number in range(rule.batches):
        indices = range(number * rule.count, (number + 1) * rule.count)
        keys = backgrounds.keys(indices)
        yield BatchSecret(
            key=derive(key, "plugin", number).hex(),
            backgrounds=tuple(keys[index].hex() for index in indices),
        )
