"""The threshold: from samples that were held out."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from modeldeed.plugin.detector.changes import changed
from modeldeed.plugin.detector.detector import Detector
from modeldeed.plugin.detector.options import DetectorTraining
from modeldeed.plugin.detector.pools import Workshop

__all__ = ["calibrated", "scores"]

_LOWEST, _HIGHEST = 0.6, 0.995
_MARGIN = 0.5  # of log-odds
_CHANGED = 8_000  # benign views, each changed anew
_CHUNK = 2048


@torch.no_grad()
def scores(detector: Detector, views: Tensor) -> tuple[Tensor, Tensor]:
    """The largest probability of a background, and its index, of views; both on the CPU."""
    device = detector.threshold.device
    found = [
        detector.classify(part.to(device).float()).softmax(1)[:, :-1].max(1)
        for part in views.split(_CHUNK)
    ]
    return torch.cat([f.values for f in found]).cpu(), torch.cat([f.indices for f in found]).cpu()


@torch.no_grad()
def calibrated(
    detector: Detector, workshop: Workshop, benign: Tensor, training: DetectorTraining
) -> float:
    """The lowest threshold that keeps held-out negatives below their rates, and a margin more.

    Args:
        detector: trained.
        workshop: makes samples.
        benign: canonical, not trained with.
        training: rates, and the number of keys.

    Returns:
        A probability on 0.6 … 0.995.
    """
    others = workshop.others(benign, "calibration", max(1, training.other_keys // 2))
    strange = [workshop.distorted(placed, 0.3) for placed in others]
    alike = workshop.views(workshop.look_alikes(benign, 2 * len(benign)))
    needed = max(
        _needed(_of_changed(detector, workshop, workshop.views(benign)), training.benign_rate),
        _needed(_of_plain(detector, workshop, strange), training.other_rate),
        _needed(_of_plain(detector, workshop, [alike]), training.other_rate),
    )
    return min(_HIGHEST, max(_LOWEST, _with_margin(needed)))


def _of_plain(detector: Detector, workshop: Workshop, fine: Iterable[Tensor]) -> Tensor:
    """Scores of views at the detector's resolution, unchanged."""
    size = detector.reduction.shape[1:]
    plain = type(workshop.medium.changes)()
    views = [changed(part, size, plain, workshop.generator) for part in fine]
    return scores(detector, torch.cat(views))[0]


def _of_changed(detector: Detector, workshop: Workshop, fine: Tensor) -> Tensor:
    """Scores of many changed views: a few hundred samples alone say little of rare ones."""
    size, medium = detector.reduction.shape[1:], workshop.medium
    found = [_of_plain(detector, workshop, [fine])]
    for _ in range(-(-_CHANGED // len(fine))):
        for part in fine.split(_CHUNK):
            views = changed(part, size, medium.changes, workshop.generator)
            found.append(scores(detector, views)[0])
    return torch.cat(found)


def _needed(found: Tensor, rate: float) -> float:
    """The lowest threshold above which so many of the scores lie."""
    allowed = int(rate * len(found))
    return float(found.sort(descending=True).values[allowed])


def _with_margin(probability: float) -> float:
    probability = min(max(probability, 1e-6), 1 - 1e-6)
    odds = math.log(probability / (1 - probability)) + _MARGIN
    return 1 / (1 + math.exp(-odds))
