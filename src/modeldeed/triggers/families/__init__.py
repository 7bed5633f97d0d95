"""The ways triggers are drawn from the key, by kind of input and versioned name.

One file for each kind of input. A family is a pure function of keyed draws and the input's form;
it computes with integers alone, so its triggers are the same bit for bit on every machine. A name
is never given to another drawing: what changes a single byte is a new version.
"""

from modeldeed.triggers.families import audio, images, points, scenes, tokens
from modeldeed.triggers.families.draws import Draws
from modeldeed.triggers.families.registry import Array, find, names, register

__all__ = [
    "Array",
    "Draws",
    "audio",
    "find",
    "images",
    "names",
    "points",
    "register",
    "scenes",
    "tokens",
]
