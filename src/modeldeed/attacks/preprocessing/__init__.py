"""Changes of what a model is asked: a model comes back behind each."""

from modeldeed.attacks.preprocessing._wrapped import InputAttack, Preprocessed
from modeldeed.attacks.preprocessing.flipping import InputFlip
from modeldeed.attacks.preprocessing.jpeg import Jpeg
from modeldeed.attacks.preprocessing.levels import InputLevels
from modeldeed.attacks.preprocessing.noising import InputNoise
from modeldeed.attacks.preprocessing.reconstruction import Reconstruct
from modeldeed.attacks.preprocessing.smoothing import Smooth
from modeldeed.attacks.preprocessing.squeezing import Squeeze

__all__ = [
    "InputAttack",
    "InputFlip",
    "InputLevels",
    "InputNoise",
    "Jpeg",
    "Preprocessed",
    "Reconstruct",
    "Smooth",
    "Squeeze",
]
