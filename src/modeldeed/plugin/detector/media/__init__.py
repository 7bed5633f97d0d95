"""What training needs to know of each kind of input: how it is changed, and what looks like it."""

from modeldeed.plugin.detector.media.medium import Medium
from modeldeed.plugin.detector.media.registry import medium_for

__all__ = ["Medium", "medium_for"]
