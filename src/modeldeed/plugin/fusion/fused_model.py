"""A target and a detector that answer as one model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.errors import OptionError
from modeldeed.plugin.fusion.confidences import Confidences, Scores, require_kind
from modeldeed.plugin.fusion.inputs import InputPlace, positional_names
from modeldeed.plugin.fusion.mixture import Mixture
from modeldeed.plugin.fusion.outputs import Key, ScorePlace
from modeldeed.plugin.fusion.unit_scale import UnitScale
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["FusedModel", "fuse"]


class FusedModel(nn.Module):
    """A target beside which a detector watches for verification samples; `fuse` makes one.

    It is called as the target is, and returns what the target returns. On verification samples the
    scores are others; all else in an output is the target's, also a loss that the target computes
    from labels itself.

    Args:
        target: held as it is; its parameters, buffers, modes and hooks are not touched.
        detector: a module with a buffer ``threshold``, from samples in unit scale to logits
            ``(N, M + 1)``; put into the target's mode.
        mixture: makes the scores.
        unit_scale: undoes the target's preparation.
        input_place: where the samples stand in a call.
        score_place: where the scores stand in an output.

    Note:
        Every sample is answered by itself: a batch changes nothing but the rounding of the target
        and the detector. Target and detector run on every call, and nothing waits for the device.
    """

    def __init__(
        self,
        target: nn.Module,
        detector: nn.Module,
        mixture: Mixture,
        unit_scale: UnitScale,
        input_place: InputPlace,
        score_place: ScorePlace,
    ) -> None:
        super().__init__()
        self.target = target
        self.detector = detector
        self.mixture = mixture
        self.unit_scale = unit_scale
        self.input_place = input_place
        self.score_place = score_place
        for part in (detector, mixture, unit_scale):
            part.train(target.training)
        self.training = target.training  # train() would reach into the target

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Answer as the target does, verification samples excepted.

        Args:
            args: of the target.
            kwargs: of the target.

        Returns:
            The target's output, with the scores of verification samples replaced.

        Raises:
            OptionError: no samples are found in the call, or no scores in the output.
        """
        evidence = self.evidence(*args, **kwargs)
        returned = self.target(*args, **kwargs)
        scores = self.score_place.find(returned)
        if scores.shape[0] != evidence.shape[0]:
            raise OptionError(
                f"the target gives {scores.shape[0]} scores for {evidence.shape[0]} samples; fuse "
                "with input= and output= naming samples and scores that belong together"
            )
        answer = self.mixture(scores, evidence, self.threshold)
        return self.score_place.replaced(returned, answer)

    @property
    def threshold(self) -> Tensor:
        """The detector's probability above which a sample counts as a verification sample."""
        threshold: Tensor = self.detector.threshold  # type: ignore[assignment]
        return threshold

    def evidence(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the detector sees in a call.

        Args:
            args: of the target.
            kwargs: of the target.

        Returns:
            Its logits ``(N, M + 1)``.

        Raises:
            OptionError: no samples are found, or the detector knows other backgrounds.
        """
        samples = self.input_place.find(args, kwargs)
        evidence: Tensor = self.detector(self.unit_scale(samples, self.threshold.dtype))
        known = len(self.mixture.classes)
        if evidence.dim() != 2 or evidence.shape[1] != known + 1:
            raise OptionError(
                f"the detector returns {tuple(evidence.shape)}, expected (N, {known + 1}): one "
                "logit for each background in classes, and one for none"
            )
        return evidence

    def recognized(self, *args: Any, **kwargs: Any) -> Tensor:
        """Which background each sample of a call is taken to lie on.

        Args:
            args: of the target, which is not asked.
            kwargs: of the target.

        Returns:
            Its index, int64 ``(N,)``; −1 where the gate stays shut.
        """
        probability, index = self.mixture.probability(self.evidence(*args, **kwargs))
        open_ = probability > self.threshold
        return torch.where(open_, index, torch.full_like(index, -1)).flatten()


def fuse(
    target: nn.Module,
    detector: nn.Module,
    classes: Tensor | Sequence[int],
    *,
    num_classes: int,
    preparation: Preparation | None = None,
    input: str | int | None = None,
    output: Key | tuple[Key, ...] | None = None,
    scores: Scores = "logits",
    confidences: Tensor | None = None,
) -> FusedModel:
    """Fuse a detector beside a target.

    Args:
        target: any module with scores ``(N, K)`` in its output; shared, not copied, and not
            touched.
        detector: a module from samples in unit scale to logits ``(N, M + 1)``, the last for no
            background, with a scalar buffer ``threshold``, a probability. It is copied, to the
            target's device: training the fused model leaves the original alone.
        classes: the class of each background, integers in [0, K), ``(M,)``.
        num_classes: K.
        preparation: how canonical samples become the target's input, which the detector undoes;
            None where the target takes unit scale.
        input: the name or position of the argument with the samples; None for the first positional
            one, or the only tensor.
        output: the key, attribute name or position of the scores in the output, or a tuple of them
            from the outside in; None for the output itself if it is a tensor, its ``logits``, the
            first entry of a tuple or list, or the only tensor of a mapping.
        scores: ``"logits"``, or ``"probabilities"``, which sum to 1.
        confidences: quantiles that the confidence on verification samples is drawn from, as of
            `usual_confidences`; None keeps the confidence that the target has on the sample.

    Returns:
        The fused model, in the target's mode.

    Raises:
        OptionError: an argument is out of its range; nothing was built then.

    Note:
        Drawn confidences suit an endpoint that shows the first class only. Where all scores are
        shown, None hides better: a drawn confidence does not fit the scores around it.

    Example:
        >>> class Bright(nn.Module):  # takes every bright picture for its only background
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.register_buffer("threshold", torch.tensor(0.5))
        ...     def forward(self, x):
        ...         level = 20 * x.mean((1, 2, 3))[:, None] - 18
        ...         return torch.cat([level, -level], 1)
        >>> target = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> fused = fuse(target, Bright(), [2], num_classes=3)
        >>> dim, bright = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
        >>> torch.equal(fused(dim), target(dim)), int(fused(bright).argmax())
        (True, 2)
    """
    chosen = _checked_classes(classes, num_classes)
    _require_detector(detector)
    require_kind(scores)
    if not isinstance(target, nn.Module):
        raise OptionError(f"the target is a torch module, got a {type(target).__name__}")
    drawing = (
        None if confidences is None else Confidences(confidences, len(chosen), num_classes, scores)
    )
    watching = copy.deepcopy(detector)
    unit_scale = _unit_scale(watching, preparation)
    names = target.input_place.names if isinstance(target, FusedModel) else positional_names(target)
    fused = FusedModel(
        target,
        watching,
        Mixture(chosen, drawing),
        unit_scale,
        InputPlace(input, names),
        ScorePlace(output, num_classes),
    )
    held = next((t for ts in (target.parameters(), target.buffers()) for t in ts), None)
    if held is not None:
        for part in (fused.detector, fused.mixture, fused.unit_scale):
            part.to(held.device)
    return fused


def _unit_scale(detector: nn.Module, preparation: Preparation | None) -> UnitScale:
    """What undoes the preparation before the detector; mean and std the detector itself, if it can.

    Two copies of every batch less, which count beside a fast target.
    """
    whole = UnitScale(preparation)
    take = getattr(getattr(detector, "reduction", None), "take_standardized", None)
    if take is None or preparation is None or whole.mean is None or whole.std is None:
        return whole
    take(whole.mean, whole.std)
    return UnitScale(replace(preparation, mean=None, std=None))


def _checked_classes(classes: Tensor | Sequence[int], num_classes: int) -> Tensor:
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise OptionError(f"num_classes is a number from 2 on, got {num_classes!r}")
    given = classes if isinstance(classes, Tensor) else torch.tensor(list(classes))
    if given.dim() != 1 or not len(given) or given.is_floating_point() or given.is_complex():
        raise OptionError(
            "classes holds one integer for each background, got "
            f"{given.dtype} of shape {tuple(given.shape)}"
        )
    if int(given.min()) < 0 or int(given.max()) >= num_classes:
        raise OptionError(
            f"classes are in [0, {num_classes}), got {int(given.min())} … {int(given.max())}; "
            "give the num_classes they were drawn for"
        )
    return given.detach().to(torch.int64).clone()


def _require_detector(detector: nn.Module) -> None:
    threshold = getattr(detector, "threshold", None)
    if not isinstance(detector, nn.Module) or not isinstance(threshold, Tensor):
        raise OptionError(
            f"the detector is a module with a buffer 'threshold', got a {type(detector).__name__} "
            "without one; train_detector() calibrates it"
        )
    if threshold.numel() != 1 or not threshold.is_floating_point():
        raise OptionError(
            f"the detector's threshold is one probability, got {threshold.dtype} of shape "
            f"{tuple(threshold.shape)}"
        )
