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

_LOWEST, _HIGHEST = 0.3, 0.995
_MARGINS = 0.25, 1.0  # of log-odds
_KEPT = 0.99  # of the samples on the owner's backgrounds
_CHANGED = 8_000  # benign views, each changed anew
_ROUNDS = 4  # of all of the owner's backgrounds
_CHUNK = 2048


@torch.no_grad()
def scores(detector: Detector, views: Tensor) -> tuple[Tensor, Tensor]:
    """The largest probability of a background, and its index, of views; both on the CPU."""
    device = detector.threshold.device
    found = [
        detector.classify(part.to(device).float()).softmax(1)[:, :-1].max(1)
        for part in torch.split(views, _CHUNK)
    ]
    return torch.cat([f.values for f in found]).cpu(), torch.cat([f.indices for f in found]).cpu()


@torch.no_grad()
def calibrated(
    detector: Detector, workshop: Workshop, benign: Tensor, training: DetectorTraining
) -> float:
    """A threshold above what held-out negatives need.

    Above, by half of the way to where samples on the owner's backgrounds would be lost, but not
    much: changes on the way bring theirs down.

    Args:
        detector: trained.
        workshop: makes samples.
        benign: canonical, not trained with.
        training: rates, and the number of keys.

    Returns:
        A probability on 0.3 … 0.995.
    """
    others = workshop.others(benign, "calibration", max(1, training.other_keys // 2))
    strange = [workshop.distorted(placed, 0.3) for placed in others]
    alike = workshop.views(workshop.look_alikes(benign, 2 * len(benign)))
    needed = max(
        _above(_of_changed(detector, workshop, workshop.views(benign)), training.benign_rate),
        _above(_of_plain(detector, workshop, strange), training.other_rate),
        _above(_of_plain(detector, workshop, [alike]), training.other_rate),
    )
    own = [workshop.views(placed) for placed, _ in workshop.own(benign, _ROUNDS)]
    allowed = _above(_of_plain(detector, workshop, own), _KEPT)
    half = (_log_odds(allowed) - _log_odds(needed)) / 2
    margin = min(max(half, _MARGINS[0]), _MARGINS[1])
    threshold = 1 / (1 + math.exp(-_log_odds(needed) - margin))
    return min(_HIGHEST, max(_LOWEST, threshold))


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
        for part in torch.split(fine, _CHUNK):
            views = changed(part, size, medium.changes, workshop.generator)
            found.append(scores(detector, views)[0])
    return torch.cat(found)


def _above(found: Tensor, share: float) -> float:
    """The value above which such a share of the scores lies."""
    return float(found.sort(descending=True).values[int(share * len(found))])


def _log_odds(probability: float) -> float:
    probability = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(probability / (1 - probability))
