"""Weaving: a detector's channels inside the target's own layers, instead of a branch beside it.

A twin of the target with few channels is trained as the detector; then both become one network
with the target's operations. It answers as the plain fusion of the same twin does. What it takes
to separate them again is in `modeldeed.plugin.weaving.separation`, and it is little.
"""

from modeldeed.plugin.weaving.training import Woven, fuse_woven, train_twin
from modeldeed.plugin.weaving.twin import ThinTwin, thin_twin
from modeldeed.plugin.weaving.weave import Gate, weave
from modeldeed.plugin.weaving.widening import Weave

__all__ = [
    "Gate",
    "ThinTwin",
    "Weave",
    "Woven",
    "fuse_woven",
    "thin_twin",
    "train_twin",
    "weave",
]
