"""Rewrites that leave a model's function as it is and its weights unrecognizable."""

from modeldeed.attacks.invariance.dummy_neurons import AddDummyNeurons, add_dummy_neurons
from modeldeed.attacks.invariance.folded_norms import FoldNorms, fold_norms
from modeldeed.attacks.invariance.head_permutation import PermuteHeads, permute_heads
from modeldeed.attacks.invariance.inserted_layers import InsertLayers, insert_layers
from modeldeed.attacks.invariance.permutation import Permute, permute
from modeldeed.attacks.invariance.residual_rotation import RotateResidual, rotate_residual
from modeldeed.attacks.invariance.scaling import Scale, scale
from modeldeed.attacks.invariance.sign_flips import FlipSigns, flip_signs

__all__ = [
    "AddDummyNeurons",
    "FlipSigns",
    "FoldNorms",
    "InsertLayers",
    "Permute",
    "PermuteHeads",
    "RotateResidual",
    "Scale",
    "add_dummy_neurons",
    "flip_signs",
    "fold_norms",
    "insert_layers",
    "permute",
    "permute_heads",
    "rotate_residual",
    "scale",
]
