"""The medium of a form."""

from __future__ import annotations

from modeldeed.anchor.plugin_rule import BackgroundInput
from modeldeed.anchor.trigger_rule import ImageInput, PointInput
from modeldeed.plugin.detector.media.audio import Sounds
from modeldeed.plugin.detector.media.images import Images
from modeldeed.plugin.detector.media.medium import Medium
from modeldeed.plugin.detector.media.points import Clouds

__all__ = ["medium_for"]


def medium_for(form: BackgroundInput) -> Medium:
    """What training needs to know of samples of a form."""
    if isinstance(form, ImageInput):
        return Images(form)
    return Clouds(form) if isinstance(form, PointInput) else Sounds(form)
