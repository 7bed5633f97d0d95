"""What others do to a model after it has shipped, each with its source, its strength and its cost.

One file for each attack: a pure function that takes a model and returns a changed copy, and a
frozen dataclass with its parameters, registered under a name. Nothing here knows of any mark.
"""

from modeldeed.attacks.fine_tuning import FineTune, fine_tune, with_new_classifier
from modeldeed.attacks.pruning import Prune, prune
from modeldeed.attacks.quantization import Quantize, quantize
from modeldeed.attacks.registry import Attack, AttackData, find, names, register
from modeldeed.attacks.resampling import LowVarianceResampling, low_variance_resampling

__all__ = [
    "Attack",
    "AttackData",
    "FineTune",
    "LowVarianceResampling",
    "Prune",
    "Quantize",
    "find",
    "fine_tune",
    "low_variance_resampling",
    "names",
    "prune",
    "quantize",
    "register",
    "with_new_classifier",
]
