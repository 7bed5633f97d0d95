"""What a detector looks at: its input averaged to a small view, by kind of input.

A view is ``(N, C, rows, columns)``, around 0 and of about unit size: of images the colors of a
small square, of sound the loudness of bands over time, of points how many lie where, seen from
three sides.
"""

from modeldeed.plugin.detector.reductions.audio import LogBands
from modeldeed.plugin.detector.reductions.images import AreaAverage
from modeldeed.plugin.detector.reductions.points import ThreeViews
from modeldeed.plugin.detector.reductions.registry import Reduction, reduction_for

__all__ = ["AreaAverage", "LogBands", "Reduction", "ThreeViews", "reduction_for"]
