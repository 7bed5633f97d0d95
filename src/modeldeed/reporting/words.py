"""Figures in words that somebody who sees them for the first time understands.

Tables and pages share these, so that a terminal and a browser never say different things.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from modeldeed.demo.result import DemoResult, Outcome
from modeldeed.passport.evidence.private_check import DEFAULT_DECOYS
from modeldeed.results import Support, Verdict

__all__ = [
    "LIMITS",
    "Reading",
    "bar_sentence",
    "branch_sentence",
    "chance",
    "chance_parts",
    "deployment_sentence",
    "done_sentence",
    "headline",
    "luck_sentence",
    "readings",
    "wrong_key_sentence",
]

LIMITS = (
    "This was a small network and an easy task, and nobody tried to remove the mark: the two "
    "changes are what models go through in ordinary use. How a mark fares on your model, and "
    "against which attacks, has to be measured there.",
    "Whoever trains a fresh network on this model's answers gets one without the signature, and "
    "whoever has all the data and about the original compute can wash it out.",
    "A mark proves that the key's holder had a hand in these weights. Who came first is proved "
    "by a dated registration, which the demo does not make.",
    "The demo's keys follow from its seed, so anybody can make them. A real key is drawn at "
    "random and kept secret.",
)


@dataclass(frozen=True)
class Reading:
    """One row: a model, a key, and what came out.

    Attributes:
        model: what was examined.
        key: whose key was held against it.
        outcome: what came out.
    """

    model: str
    key: str
    outcome: Outcome


def readings(result: DemoResult) -> tuple[Reading, ...]:
    """All readings of the demo, the shipped model first and the controls last."""
    share = "half" if result.pruned_share == 0.5 else f"a share of {result.pruned_share:g}"
    shipped = Outcome(
        accuracy=result.public_accuracy,
        matches=result.signature_matches,
        log10_p=result.log10_p,
        verdict=result.verdict,
    )
    wrong = Outcome(
        accuracy=result.public_accuracy,
        matches=result.wrong_key_matches,
        log10_p=result.wrong_key_log10_p,
        verdict=result.wrong_key_verdict,
    )
    rows = (
        ("as shipped", "owner's", shipped),
        (f"after {result.fine_tune_epochs} more epochs", "owner's", result.fine_tuned),
        (f"after pruning {share}", "owner's", result.pruned),
        ("as shipped", "another's", wrong),
        ("twin without a mark", "owner's", result.unmarked),
    )
    return tuple(Reading(model, key, outcome) for model, key, outcome in rows)


def chance_parts(log10_p: float) -> tuple[str, int | None]:
    """A probability as words, and the exponent of ten behind them if there is one.

    Args:
        log10_p: log10 of the probability, ≤ 0.

    Returns:
        For example ``("62 in 100", None)``, ``("1 in 3,400", None)``, ``("1 in 10", 202)``. An
        exponent is rounded towards the larger probability: luck is never made to look smaller.
    """
    if log10_p > -2:
        return f"{round(100 * 10**log10_p)} in 100", None
    if log10_p > -6:
        digits = 10 ** (math.floor(-log10_p) - 1)
        return f"1 in {math.floor(10**-log10_p / digits) * digits:,}", None
    return "1 in 10", math.floor(-log10_p)


def chance(log10_p: float) -> str:
    """A probability for a terminal.

    Example:
        >>> chance(-0.2), chance(-3.53), chance(-202.46)
        ('63 in 100', '1 in 3,300', '1 in 10^202')
    """
    words, exponent = chance_parts(log10_p)
    return words if exponent is None else f"{words}^{exponent}"


def headline(result: DemoResult) -> str:
    """The outcome in one sentence."""
    if result.proved:
        return "The shipped model carries its owner's signature."
    if result.verdict is Verdict.VERIFIED:
        return "The owner's key verified, but so did another owner's: this proves nothing."
    return f"The owner's claim to the shipped model: {result.verdict.value}."


def done_sentence(result: DemoResult) -> str:
    """What was done."""
    return (
        f"Two networks with the same beginning learned to read handwritten {result.dataset} from "
        f"{result.train_images:,} images. While it learned, one of them was given a signature: "
        f"{result.signature_bits} bits that follow from a secret key, held in which way its "
        f"weights lean. Then it shipped as an ordinary weights file."
    )


def bar_sentence(result: DemoResult) -> str:
    """What a claim must reach, with powers as ``2^64``."""
    bar = chance(result.threshold_log2 * math.log10(2))
    left = chance((result.threshold_log2 + result.grinding_log2) * math.log10(2))
    return (
        f"Verified means: rarer by luck than {bar}. That pays for 2^{result.grinding_log2} keys "
        f"which a claimant may have tried beforehand, and leaves them all together a chance of "
        f"{left}."
    )


def luck_sentence(result: DemoResult) -> str:
    """What the signature came to, and how often luck would do that."""
    needed = (
        f"{result.required_matches} are needed"
        if result.required_matches is not None
        else "no number of them would be enough"
    )
    return (
        f"{result.signature_matches} of {result.signature_bits} secret bits read from the shipped "
        f"file as the owner's key says; {needed}."
    )


def wrong_key_sentence(result: DemoResult) -> str:
    """How wrong keys fared."""
    keys = "wrong key" if result.decoy_keys == 1 else "wrong keys"
    return (
        f"A wrong key agrees with about half of the bits, as coin tosses would. The best of "
        f"{result.decoy_keys} {keys} reached {max(result.decoy_matches)} of "
        f"{result.signature_bits}."
    )


def deployment_sentence(result: DemoResult) -> str:
    """What is in the file that ships."""
    names = "the same tensors as" if result.deployed_keys_identical else "OTHER tensors than"
    outputs = (
        "gives the same answers to the last bit"
        if result.deployed_outputs_identical
        else "does NOT give the same answers"
    )
    return (
        f"The shipped file has {names} one without a mark, {outputs} as the model that was "
        f"trained, and holds {result.private_bytes_in_deployed} bytes of the owner's secrets."
    )


def branch_sentence(result: DemoResult) -> str:
    """What the private branch says."""
    tried = len(result.private_accuracy_of_decoys)
    said = {
        Support.SUPPORTS: "That supports the claim",
        Support.CONTRADICTS: "That contradicts the claim",
        Support.UNINFORMATIVE: "That says nothing about the claim",
    }[result.branch_word]
    return (
        f"The model can also be run through a private branch, whose scales come from a key. There "
        f"its accuracy is {result.branch_accuracy:.3f} under the owner's key and at most "
        f"{max(result.private_accuracy_of_decoys):.3f} under {tried} wrong ones. {said}; it "
        f"never decides one alone. (A real verification tries {DEFAULT_DECOYS} wrong keys.)"
    )
