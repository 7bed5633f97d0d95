"""The reduction of a form."""

from __future__ import annotations

from modeldeed.anchor.plugin_rule import BackgroundInput
from modeldeed.anchor.trigger_rule import ImageInput, PointInput
from modeldeed.plugin.detector.reductions.audio import LogBands
from modeldeed.plugin.detector.reductions.images import AreaAverage
from modeldeed.plugin.detector.reductions.points import ThreeViews

__all__ = ["Reduction", "reduction_for"]

Reduction = AreaAverage | LogBands | ThreeViews


def reduction_for(form: BackgroundInput) -> Reduction:
    """How samples of a form are reduced.

    Example:
        >>> reduction_for(ImageInput(channels=3, height=224, width=224)).shape
        (3, 16, 16)
    """
    if isinstance(form, ImageInput):
        return AreaAverage(form)
    return ThreeViews() if isinstance(form, PointInput) else LogBands(form)
