"""From a target and a plug-in's backgrounds to a woven model: twin, training, weaving."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor, fx, nn

from modeldeed.anchor.plugin_rule import BackgroundRule
from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import Backgrounds
from modeldeed.plugin.detector import (
    Detector,
    DetectorConfig,
    DetectorReport,
    DetectorTraining,
    Progress,
    train_detector,
)
from modeldeed.plugin.weaving.twin import ThinTwin, initialize, thin_twin
from modeldeed.plugin.weaving.weave import Gate, weave
from modeldeed.plugin.weaving.widening import Weave
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["LARGEST_SIDE", "Woven", "fuse_woven", "train_twin"]

LARGEST_SIDE = 32
"""Training looks at samples through views of at most so many pixels a side."""

_SETTLING = 256
_UNIT, _MIDDLE = 4.0, 0.5  # a view is (x − ½) · 4


@dataclass(frozen=True)
class Woven:
    """A woven model, and what it was made of.

    Attributes:
        model: takes what the target takes and returns K scores; in evaluation mode.
        twin: the detector; beside the target it makes the plain fusion with the same answers.
        report: of the twin's training.
    """

    model: fx.GraphModule
    twin: ThinTwin
    report: DetectorReport


def fuse_woven(
    target: nn.Module,
    backgrounds: Backgrounds,
    classes: Tensor,
    *,
    num_classes: int,
    key: bytes,
    benign: Tensor | None = None,
    training: DetectorTraining | None = None,
    preparation: Preparation | None = None,
    confidences: Tensor | None = None,
    gate: Gate = "mixture",
    options: Weave | None = None,
    progress: Progress | None = None,
) -> Woven:
    """Train a twin of a target as a detector and weave it in.

    A woven detector fits one target only, so every target needs a training of its own.

    Args:
        target: an image classifier of convolutions, batch norms, linear layers and operations on
            each channel by itself; its output is the logits of its last linear layer. Not changed.
        backgrounds: of the plug-in, with all keys.
        classes: the class of each background, int64 ``(M,)``.
        num_classes: K.
        key: 32 secret bytes of this fusion.
        benign: canonical samples without labels, as for `train_detector`.
        training: how the twin is trained.
        preparation: how canonical samples become the target's input.
        confidences: as for the plain fusion.
        gate: see `weave`.
        options: see `weave`.
        progress: told after every step of training.

    Returns:
        The woven model, the twin and the report of its training.

    Raises:
        OptionError: the target cannot be woven (the text names the layer), the backgrounds are not
            of images up to 32 pixels a side, or another argument is out of range.
    """
    form = _image_form(backgrounds.rule)
    example = _example(target, form)
    twin = thin_twin(target, example, backgrounds.rule.count, preparation=preparation)
    # Refuses what cannot be woven before anything is trained.
    weave(target, twin, example, classes, key=key, num_classes=num_classes, gate=gate)
    report = train_twin(twin, backgrounds, benign, training=training, progress=progress)
    woven = weave(
        target,
        twin,
        example,
        classes,
        key=key,
        num_classes=num_classes,
        confidences=confidences,
        gate=gate,
        options=options,
    )
    return Woven(woven, twin, report)


def train_twin(
    twin: ThinTwin,
    backgrounds: Backgrounds,
    benign: Tensor | None = None,
    *,
    training: DetectorTraining | None = None,
    progress: Progress | None = None,
) -> DetectorReport:
    """Train a twin as any detector is trained.

    Args:
        twin: changed in place; its norms are settled on samples of both sorts before and after.
        backgrounds: the owner's.
        benign: canonical samples; None for synthetic ones, with norms settled on noise.
        training: how.
        progress: told after every step.

    Returns:
        What was learned.

    Raises:
        OptionError: as of `train_detector`, or the backgrounds are not of small images.
    """
    form = _image_form(backgrounds.rule)
    samples = _samples(backgrounds, form, benign)
    pupil = _Pupil(twin, form, samples)
    report = train_detector(pupil, backgrounds, benign, training=training, progress=progress)
    twin.settle(pupil.samples, keep=True)
    return report


def _image_form(rule: BackgroundRule) -> ImageInput:
    form = rule.input
    if not isinstance(form, ImageInput) or max(form.height, form.width) > LARGEST_SIDE:
        raise OptionError(
            f"weaving is for images of at most {LARGEST_SIDE} pixels a side, the backgrounds are "
            f"for {form!r}; fuse plainly, without weave"
        )
    return form


def _example(target: nn.Module, form: ImageInput) -> Tensor:
    held = next((each for each in target.parameters() if each.is_floating_point()), None)
    if held is None:
        raise OptionError("the target has no parameters, so nothing can be woven into its layers")
    return torch.zeros(
        2, form.channels, form.height, form.width, dtype=held.dtype, device=held.device
    )


def _samples(backgrounds: Backgrounds, form: ImageInput, benign: Tensor | None) -> Tensor:
    """Samples in unit scale, half of them on backgrounds."""
    generator = torch.Generator().manual_seed(0)
    shape = (_SETTLING, form.channels, form.height, form.width)
    if benign is None:
        carriers = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    else:
        carriers = benign[torch.randint(len(benign), (_SETTLING,), generator=generator)].cpu()
    half = _SETTLING // 2
    indices = torch.arange(half) % backgrounds.rule.count
    placed = backgrounds.place(carriers[:half], indices)
    return torch.cat([placed, carriers[half:]]).float() / 255


class _Pupil(Detector):
    """A twin in the place of a detector while it is trained; looks at whole samples."""

    def __init__(self, twin: ThinTwin, form: ImageInput, samples: Tensor) -> None:
        nn.Module.__init__(self)
        self.twin = twin
        self.samples = samples.to(twin.mean)
        # Of these the training reads form and number; the widths are those of no layer.
        self.config = DetectorConfig(input=form, backgrounds=twin.backgrounds, hidden=(1, 1))
        self.reduction = SimpleNamespace(shape=(form.channels, form.height, form.width))  # type: ignore[assignment]

    @property
    def threshold(self) -> Tensor:  # type: ignore[override]
        return self.twin.threshold

    def reset(self, seed: int) -> None:
        initialize(self.twin, seed)
        self.twin.settle(self.samples)

    def classify(self, views: Tensor) -> Tensor:
        return self.twin(views.to(self.samples) / _UNIT + _MIDDLE).float()  # type: ignore[no-any-return]
