"""Training a detector: its backgrounds, and silence about everything else."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import Backgrounds
from modeldeed.plugin.backgrounds.checks import check_carriers
from modeldeed.plugin.detector.batches import Batches
from modeldeed.plugin.detector.calibration import calibrated, scores
from modeldeed.plugin.detector.changes import Changes, changed
from modeldeed.plugin.detector.detector import Detector
from modeldeed.plugin.detector.media import Medium, medium_for
from modeldeed.plugin.detector.options import DetectorTraining, Progress
from modeldeed.plugin.detector.pools import Pools, Workshop, filled
from modeldeed.plugin.detector.report import DetectorReport, Rate
from modeldeed.plugin.detector.weakening import weakened

__all__ = ["LEAST_BENIGN", "train_detector"]

LEAST_BENIGN = 64
_MADE_UP = 3_000
_HELD_OUT = 10  # one in so many for the threshold, and as many for the report
_MOST_HELD_OUT = 4_000
_STEPS, _SAMPLES = 2_000, 64
_LEAST_OWN = 2_048  # samples on all of the owner's backgrounds together
_ROUNDS = 12  # of each background, for the report
_AS_THEY_ARE = Changes()


def train_detector(
    detector: Detector,
    backgrounds: Backgrounds,
    benign: Tensor | None = None,
    *,
    training: DetectorTraining | None = None,
    progress: Progress | None = None,
) -> DetectorReport:
    """Teach a detector to name the background of a sample, and to be silent about all others.

    It learns from scratch: benign content on the owner's backgrounds, against the same content on
    those of other keys, benign samples as they are, made up ones, the owner's backgrounds altered
    or mixed, and benign samples that look as if they lay on something; all of them changed as
    samples are on their way. The threshold is set on what was held out.

    Args:
        detector: for the rule of the backgrounds; changed in place, on its device.
        backgrounds: the owner's, with all keys.
        benign: canonical samples without labels, at least 64: images uint8 ``(N, C, H, W)``,
            clouds int16 ``(N, P, 3)``, sound int16 ``(N, L)``. None makes some up, which serves
            less well; the report then says how silent it is about *those*.
        training: how; None for the defaults.
        progress: told after every step: steps done, all steps.

    Returns:
        What was learned, measured on carriers and keys of their own.

    Raises:
        OptionError: the detector is none for these backgrounds, some keys are not known, or benign
            samples have another form or are too few.

    Note:
        The same on the same machine with the same seed; global random numbers are left alone. The
        detector is silent while it is trained.

    Example:
        >>> from modeldeed.anchor.trigger_rule import ImageInput
        >>> from modeldeed.plugin.backgrounds import background_rule
        >>> from modeldeed.plugin.detector import detector_for
        >>> rule = background_rule(ImageInput(channels=1, height=8, width=8), count=8)
        >>> training = DetectorTraining(steps=20, batch_size=64, samples=4, other_keys=4)
        >>> detector = detector_for(rule)
        >>> train_detector(detector, Backgrounds(bytes(32), rule), training=training).steps
        20
    """
    begun = time.perf_counter()
    training = training or DetectorTraining()
    medium = _checked(detector, backgrounds, benign)
    workshop = Workshop(backgrounds, medium, training.seed)
    steps, samples = _amounts(backgrounds, training)
    if benign is None:
        made = min(_MADE_UP, max(LEAST_BENIGN, steps * training.batch_size))
        carriers = medium.synthetic(made, workshop.generator)
    else:
        carriers = benign.cpu()
    learned, calibrating, reporting = _split(carriers, workshop.generator)
    detector.reset(training.seed)
    pools = filled(
        workshop,
        learned,
        samples=samples,
        other_keys=training.other_keys,
        draws=steps * training.batch_size,
    )
    _learn(detector, workshop, pools, steps, training, progress)
    detector.threshold.fill_(calibrated(detector, workshop, calibrating, training))
    rates = _measured(detector, workshop, reporting, training)
    return DetectorReport(
        steps=steps,
        seconds=time.perf_counter() - begun,
        threshold=float(detector.threshold),
        synthetic=benign is None,
        **rates,
    )


def _checked(detector: Detector, backgrounds: Backgrounds, benign: Tensor | None) -> Medium:
    rule = backgrounds.rule
    if not isinstance(detector, Detector):
        raise OptionError(f"only a Detector is trained here, got a {type(detector).__name__}")
    config = detector.config
    if config.input != rule.input or config.backgrounds != rule.count:
        raise OptionError(
            f"the detector is for {config.backgrounds} backgrounds of {config.input!r}, these are "
            f"{rule.count} of {rule.input!r}; make one with detector_for(rule)"
        )
    backgrounds.keys(range(rule.count))
    if benign is not None:
        check_carriers(benign, rule.input)
        if len(benign) < LEAST_BENIGN:
            raise OptionError(
                f"benign samples must be at least {LEAST_BENIGN}, got {len(benign)}; give more, "
                "or None to make some up"
            )
    return medium_for(rule.input)


def _split(carriers: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """To learn with, to set the threshold with, and to report with."""
    order = torch.randperm(len(carriers), generator=generator)
    held = min(_MOST_HELD_OUT, len(carriers) // _HELD_OUT)
    return carriers[order[2 * held :]], carriers[order[:held]], carriers[order[held : 2 * held]]


def _amounts(backgrounds: Backgrounds, training: DetectorTraining) -> tuple[int, int]:
    """How many steps, and samples of each background."""
    factor = 2 if backgrounds.rule.kind == "generated" else 1
    least = -(-_LEAST_OWN // backgrounds.rule.count)
    samples = factor * max(_SAMPLES, least)
    return training.steps or factor * _STEPS, training.samples or samples


def _learn(
    detector: Detector,
    workshop: Workshop,
    pools: Pools,
    steps: int,
    training: DetectorTraining,
    progress: Progress | None,
) -> None:
    batches = Batches(
        pools,
        workshop.medium,
        detector.reduction.shape[1:],
        batch_size=training.batch_size,
        none=workshop.backgrounds.rule.count,
        generator=workshop.generator,
    )
    optimizer = torch.optim.AdamW(
        detector.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=max(2, steps)
    )
    with torch.enable_grad():
        for step in range(1, steps + 1):
            optimizer.zero_grad(set_to_none=True)
            _backward(detector, batches, step, training, workshop.generator)
            optimizer.step()
            schedule.step()
            if progress:
                progress(step, steps)
    optimizer.zero_grad(set_to_none=True)


def _backward(
    detector: Detector,
    batches: Batches,
    step: int,
    training: DetectorTraining,
    generator: torch.Generator,
) -> None:
    device = detector.threshold.device
    views, labels = batches.next()
    views, labels = views.to(device), labels.to(device)
    if training.weaken and step % 2:
        with weakened(detector, training.weaken, generator):
            F.cross_entropy(detector.classify(views), labels).backward()  # type: ignore[no-untyped-call]
    else:
        F.cross_entropy(detector.classify(views), labels).backward()  # type: ignore[no-untyped-call]


@torch.no_grad()
def _measured(
    detector: Detector, workshop: Workshop, benign: Tensor, training: DetectorTraining
) -> dict[str, Rate]:
    """All rates of the report."""
    size = detector.reduction.shape[1:]

    def named(fine: Tensor) -> Tensor:
        probability, index = scores(detector, changed(fine, size, _AS_THEY_ARE, workshop.generator))
        return torch.where(probability > detector.threshold.cpu(), index, -1)

    right: dict[float, list[Tensor]] = {0.0: [], 1.0: []}
    for placed, indices in workshop.own(benign, _ROUNDS):
        for share, found in right.items():
            found.append(named(workshop.distorted(placed, share)) == indices)
    others = workshop.others(benign, "report", max(1, training.other_keys // 4))
    strange = torch.cat([named(workshop.views(placed)) for placed in others])
    alike = named(workshop.views(workshop.look_alikes(benign, 2 * len(benign))))
    plain = named(workshop.views(benign))
    return {
        "success": _rate(torch.cat(right[0.0])),
        "success_changed": _rate(torch.cat(right[1.0])),
        "benign": _rate(plain >= 0),
        "other_keys": _rate(strange >= 0),
        "look_alikes": _rate(alike >= 0),
    }


def _rate(did: Tensor) -> Rate:
    return Rate(hits=int(did.sum()), samples=len(did))
