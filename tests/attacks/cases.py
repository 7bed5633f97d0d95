"""Small instances of every attack, for the laws that all of them obey."""

from __future__ import annotations

from modeldeed.attacks import (
    AdversarialTraining,
    Attack,
    Average,
    Cast,
    CrossArchitectureRetrain,
    Distill,
    FinePrune,
    FineTune,
    GuessKeys,
    InputFlip,
    InputLevels,
    InputNoise,
    Knockoff,
    LabelSmoothing,
    Launder,
    LowRank,
    LowVarianceResampling,
    NeuralCleanse,
    Overwrite,
    Prune,
    PruneChannels,
    Quantize,
    Reconstruct,
    Regularize,
    RemoveComponents,
    Retrain,
    SensitivityResampling,
    Smooth,
    SmoothRetrain,
    SplitLayers,
    Squeeze,
    Stack,
    StochasticAverage,
    Transfer,
    TurnAway,
    WeightNoise,
    WeightShift,
)

SMALL = {"epochs": 2, "learning_rate": 0.05, "batch_size": 16}

# Attacks whose result has the layers of what they were given.
KEEPING: list[Attack] = [
    AdversarialTraining(**SMALL, inner=2),
    Average(share=0.5),
    Cast(form="bfloat16"),
    FinePrune(**SMALL),
    FineTune(**SMALL),
    FineTune(**SMALL, new_classifier=True),
    FineTune(**SMALL, last_layer_only=True),
    GuessKeys(**SMALL, guesses=2),
    LabelSmoothing(**SMALL),
    Launder(**SMALL, search_steps=5, threshold=0.5),
    LowRank(**SMALL, rank=2),
    LowVarianceResampling(samples=32, energy=0.5, fill="zero"),
    LowVarianceResampling(samples=32, passes=2, **SMALL),
    NeuralCleanse(**SMALL, search_steps=5),
    NeuralCleanse(**SMALL, search_steps=5, way="prune"),
    Overwrite(batch_size=16),
    Prune(share=0.5),
    Prune(share=0.5, scope="layer"),
    Prune(share=0.5, scope="random"),
    PruneChannels(share=0.3),
    Quantize(bits=4),
    Quantize(bits=4, group=5),
    Regularize(**SMALL, mend_epochs=1),
    RemoveComponents(),
    SensitivityResampling(samples=32),
    SensitivityResampling(samples=32, passes=2, loss=0.5, **SMALL),
    Stack(attacks=(Prune(share=0.5), FineTune(**SMALL))),
    StochasticAverage(**SMALL),
    Transfer(**SMALL, back=1),
    TurnAway(**SMALL),
    WeightNoise(scale=0.1),
    WeightShift(**SMALL),
]
# Attacks whose result is another network, or the same one behind something.
CHANGING: list[Attack] = [
    CrossArchitectureRetrain(**SMALL),
    Distill(**SMALL),
    Distill(**SMALL, hard=True, architecture="other"),
    InputFlip(share=0.5),
    InputLevels(levels=4),
    InputNoise(deviation=0.1),
    Knockoff(**SMALL),
    Knockoff(**SMALL, queries="other", budget=32, hard=True),
    Knockoff(**SMALL, queries="noise"),
    Reconstruct(epochs=2, batch_size=16),
    Retrain(**SMALL),
    Smooth(kind="median"),
    SmoothRetrain(**SMALL, copies=2),
    SplitLayers(),
    Squeeze(bits=3),
]
ALL = [*KEEPING, *CHANGING]
ELSEWHERE = {"input-jpeg", "onnx-round-trip"}
"""Attacks that need an optional package, or two channels fewer; their own tests have them."""

DRAWLESS = (
    Average,
    Cast,
    InputLevels,
    NeuralCleanse,
    PruneChannels,
    Quantize,
    RemoveComponents,
    Smooth,
    Squeeze,
)


def draws(attack: Attack) -> bool:
    """Tell whether another seed makes another model."""
    if isinstance(attack, Prune):
        return attack.scope == "random"
    if isinstance(attack, LowVarianceResampling):
        return attack.fill == "noise"
    return not isinstance(attack, DRAWLESS)
