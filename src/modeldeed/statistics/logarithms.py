"""Where natural logarithms, the unit inside, become others.

``log2`` and ``log10`` appear in names where a value is in another unit.
"""

import math

__all__ = ["LN2", "LN10"]

LN2 = math.log(2)
LN10 = math.log(10)
