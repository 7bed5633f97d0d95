"""The ways backgrounds are drawn, by kind of input and versioned name."""

from modeldeed.plugin.backgrounds.families import audio, images, points
from modeldeed.plugin.backgrounds.families.registry import Family, find, names, register

__all__ = ["Family", "audio", "find", "images", "names", "points", "register"]
