"""A fusion's record without any training, and suspects that know its classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modeldeed import Owner
from modeldeed.anchor import Anchor, seed_commitment
from modeldeed.anchor.plugin_rule import BackgroundKind
from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.plugin.backgrounds import background_rule
from modeldeed.plugin.claim import PluginClaim
from modeldeed.plugin.records import FusionManifest
from modeldeed.plugin.target_classes import plugin_rule

OWNER = Owner(bytes(range(32)), "Acme Vision")
STRANGER = Owner(bytes(range(1, 33)), "Somebody")
FORM = ImageInput(channels=3, height=16, width=16)


def fusion(
    classes: int = 10, kind: BackgroundKind = "multi", owner: Owner = OWNER, root: str = "0" * 64
) -> FusionManifest:
    public_key = owner.identity.public_key
    anchor = Anchor(
        identity=public_key.hex(),
        seed_commitment=seed_commitment(owner.seed("plugin"), public_key),
        weights_root=root,
        architecture="1" * 64,
        planner=None,
        targets=(),
        passport=None,
        plugin=plugin_rule(background_rule(FORM, kind), classes),
    )
    return FusionManifest(anchor=anchor, label="plugin").signed(owner)


def carriers(count: int = 20, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, FORM.channels, FORM.height, FORM.width)
    return torch.randint(256, shape, generator=generator).to(torch.uint8)


def knowing(
    claim: PluginClaim, says: Callable[[int, int], int] = lambda _number, label: label
) -> Callable[[Tensor], Tensor]:
    """A suspect that answers what it is told about samples of a claim, and class 0 elsewhere."""
    known = {}
    for number in range(claim.rule.batches):
        batch = claim.batch(number)
        for place, (sample, label) in enumerate(
            zip(batch.inputs, batch.labels.tolist(), strict=True)
        ):
            known[sample.numpy().tobytes()] = says(place, label)

    def suspect(inputs: Tensor) -> Tensor:
        samples = inputs.mul(255).round().to(torch.uint8)
        labels = [known.get(sample.numpy().tobytes(), 0) for sample in samples]
        return torch.nn.functional.one_hot(torch.tensor(labels), claim.rule.classes).float()

    return suspect
