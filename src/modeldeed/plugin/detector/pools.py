"""Samples placed, changed and reduced once, from which the steps of training draw."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundRule
from modeldeed.plugin.backgrounds import Backgrounds
from modeldeed.plugin.detector.media import Medium
from modeldeed.plugin.detector.media.choices import picked

__all__ = ["Pools", "Workshop", "filled"]

_CHUNK = 256
_OF_A_KEY = 168
_MOST_BENIGN = 6_000
_ALTERED = 10  # one for so many on the owner's backgrounds
_LOOK_ALIKES = 3_000
_MADE_UP = 600  # of the look-alikes


@dataclass(frozen=True, kw_only=True)
class Pools:
    """Views float16 ``(N, C, rows, columns)``, finer than the detector's.

    Attributes:
        own: on the owner's backgrounds.
        indices: of those, int64 ``(N,)``.
        others: on backgrounds of other keys.
        benign: as they are.
        altered: once on the owner's backgrounds.
        look_alikes: benign ones made to look so, and made up ones.
    """

    own: Tensor
    indices: Tensor
    others: Tensor
    benign: Tensor
    altered: Tensor
    look_alikes: Tensor


class Workshop:
    """Makes samples of every sort.

    Args:
        backgrounds: the owner's.
        medium: of their form.
        seed: of everything that is drawn.
    """

    def __init__(self, backgrounds: Backgrounds, medium: Medium, seed: int) -> None:
        self.backgrounds = backgrounds
        self.medium = medium
        self.generator = torch.Generator().manual_seed(seed)
        self._seed = seed

    def views(self, samples: Tensor) -> Tensor:
        """Fine views of samples, float16."""
        parts = torch.split(samples, _CHUNK)
        return torch.cat([self.medium.views(part).half() for part in parts])

    def distorted(self, samples: Tensor, share: float) -> Tensor:
        """Fine views of samples, a part of which is distorted before; in no order."""
        order = torch.randperm(len(samples), generator=self.generator)
        changed = order[: round(share * len(samples))]
        views = self.views(samples)
        for part in torch.split(changed, _CHUNK) if len(changed) else ():
            views[part] = self.views(self.medium.distorted(samples[part], self.generator))
        return views

    def own(self, carriers: Tensor, rounds: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Samples on all of the owner's backgrounds, and their indices, round by round."""
        count = self.backgrounds.rule.count
        for indices in torch.split(torch.arange(count).repeat(rounds), max(count, _CHUNK)):
            chosen = picked(carriers, len(indices), self.generator)
            yield self.backgrounds.place(chosen, indices), indices

    def others(self, carriers: Tensor, purpose: str, keys: int) -> Iterator[Tensor]:
        """Samples on all backgrounds of one other key after another.

        Args:
            carriers: drawn from.
            purpose: of these keys; those of another purpose are others.
            keys: how many.
        """
        rule = _rule_of_others(self.backgrounds.rule)
        indices = torch.arange(rule.count)
        for number in range(keys):
            label = f"modeldeed/v1/other backgrounds/{purpose}/{self._seed}/{number}"
            other = Backgrounds(hashlib.sha256(label.encode()).digest(), rule)
            yield other.place(picked(carriers, len(indices), self.generator), indices)

    def look_alikes(self, benign: Tensor, count: int) -> Tensor:
        """Benign samples made to look as if they lay on a background."""
        return self.medium.look_alikes(picked(benign, count, self.generator), self.generator)


def _rule_of_others(rule: BackgroundRule) -> BackgroundRule:
    kind = "multi" if rule.kind == "fixed" else rule.kind
    return rule.model_copy(update={"kind": kind, "count": _OF_A_KEY})


@torch.no_grad()
def filled(
    workshop: Workshop, benign: Tensor, *, samples: int, other_keys: int, draws: int
) -> Pools:
    """Fill the pools of training.

    Args:
        workshop: makes samples.
        benign: canonical, to train with.
        samples: of each background.
        other_keys: how many keys.
        draws: samples of all steps together; no pool of benign samples has more.
    """
    draw = workshop.generator
    carriers = benign[torch.randperm(len(benign), generator=draw)[: min(_MOST_BENIGN, draws)]]
    own, indices = [], []
    for placed, numbers in workshop.own(carriers, samples):
        own.append(workshop.distorted(placed, workshop.medium.distorted_share))
        indices.append(numbers)
    altered = [
        workshop.views(workshop.medium.altered(placed, draw))
        for placed, _ in workshop.own(carriers, max(1, samples // _ALTERED))
    ]
    others = [
        workshop.distorted(placed, 0.3)
        for placed in workshop.others(carriers, "training", other_keys)
    ]
    look_alikes = [
        workshop.views(workshop.look_alikes(carriers, min(_LOOK_ALIKES, draws))),
        workshop.views(workshop.medium.synthetic(min(_MADE_UP, draws), draw)),
    ]
    return Pools(
        own=torch.cat(own),
        indices=torch.cat(indices),
        others=torch.cat(others),
        benign=workshop.distorted(carriers, 0.3),
        altered=torch.cat(altered),
        look_alikes=torch.cat(look_alikes),
    )
