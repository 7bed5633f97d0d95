"""What others do to a model after it has shipped, each with its source, its strength and its cost.

One file for each attack: a pure function that takes a model and returns a changed copy, and a
frozen dataclass with its parameters, registered under a name. Nothing here knows of any mark, but
for the one that embeds a mark of its own.
"""

from modeldeed.attacks import invariance
from modeldeed.attacks.adversarial_training import AdversarialTraining, adversarial
from modeldeed.attacks.averaging import Average, StochasticAverage, average
from modeldeed.attacks.casting import Cast, cast
from modeldeed.attacks.channel_pruning import PruneChannels, prune_channels
from modeldeed.attacks.decorrelation import TurnAway, decorrelated
from modeldeed.attacks.distillation import Distill
from modeldeed.attacks.fine_pruning import FinePrune
from modeldeed.attacks.fine_tuning import FineTune, fine_tune, with_new_classifier
from modeldeed.attacks.key_guessing import GuessKeys, guess_keys
from modeldeed.attacks.knockoff import Knockoff
from modeldeed.attacks.label_smoothing import LabelSmoothing, smooth_labels
from modeldeed.attacks.layer_splitting import SplitLayers, split_layers
from modeldeed.attacks.low_rank_tuning import LowRank, low_rank
from modeldeed.attacks.neural_cleanse import NeuralCleanse
from modeldeed.attacks.neural_laundering import Launder
from modeldeed.attacks.onnx_round_trip import ExportedModel, OnnxRoundTrip, onnx_round_trip
from modeldeed.attacks.overwriting import Overwrite, overwrite
from modeldeed.attacks.preprocessing import (
    InputFlip,
    InputLevels,
    InputNoise,
    Jpeg,
    Preprocessed,
    Reconstruct,
    Smooth,
    Squeeze,
)
from modeldeed.attacks.pruning import Prune, prune
from modeldeed.attacks.quantization import Quantize, quantize
from modeldeed.attacks.registry import (
    Attack,
    AttackData,
    Need,
    Unknown,
    chosen,
    find,
    names,
    register,
)
from modeldeed.attacks.regularization import Regularize, regularize
from modeldeed.attacks.resampling import LowVarianceResampling, low_variance_resampling
from modeldeed.attacks.retraining import CrossArchitectureRetrain, Retrain, SmoothRetrain
from modeldeed.attacks.running import Attacked, run
from modeldeed.attacks.sensitivity import SensitivityResampling, sensitivity_resampling
from modeldeed.attacks.stack import Stack
from modeldeed.attacks.svd_removal import RemoveComponents, remove_components
from modeldeed.attacks.transfer_learning import Transfer
from modeldeed.attacks.weight_noise import WeightNoise, add_weight_noise
from modeldeed.attacks.weight_shifting import WeightShift, shift_weights

__all__ = [
    "AdversarialTraining",
    "Attack",
    "AttackData",
    "Attacked",
    "Average",
    "Cast",
    "CrossArchitectureRetrain",
    "Distill",
    "ExportedModel",
    "FinePrune",
    "FineTune",
    "GuessKeys",
    "InputFlip",
    "InputLevels",
    "InputNoise",
    "Jpeg",
    "Knockoff",
    "LabelSmoothing",
    "Launder",
    "LowRank",
    "LowVarianceResampling",
    "Need",
    "NeuralCleanse",
    "OnnxRoundTrip",
    "Overwrite",
    "Preprocessed",
    "Prune",
    "PruneChannels",
    "Quantize",
    "Reconstruct",
    "Regularize",
    "RemoveComponents",
    "Retrain",
    "SensitivityResampling",
    "Smooth",
    "SmoothRetrain",
    "SplitLayers",
    "Squeeze",
    "Stack",
    "StochasticAverage",
    "Transfer",
    "TurnAway",
    "Unknown",
    "WeightNoise",
    "WeightShift",
    "add_weight_noise",
    "adversarial",
    "average",
    "cast",
    "chosen",
    "decorrelated",
    "find",
    "fine_tune",
    "guess_keys",
    "invariance",
    "low_rank",
    "low_variance_resampling",
    "names",
    "onnx_round_trip",
    "overwrite",
    "prune",
    "prune_channels",
    "quantize",
    "register",
    "regularize",
    "remove_components",
    "run",
    "sensitivity_resampling",
    "shift_weights",
    "smooth_labels",
    "split_layers",
    "with_new_classifier",
]
