"""The owner's claim, read from the shipped model and from what others made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.data import Dataset
from modeldeed.demo.changes import fine_tune, prune_smallest
from modeldeed.demo.pair import Pair, fresh_model
from modeldeed.demo.result import DemoSize, Outcome
from modeldeed.owner import Owner
from modeldeed.passport import JudgeData, Passport
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.reading import judge_signature, load_layers, matches_of
from modeldeed.passport.private.branch import PrivateBranch
from modeldeed.statistics import LN10, log_binomial_tail
from modeldeed.suspects import open_weights
from modeldeed.training import accuracy
from modeldeed.verification import UNANCHORED, verify

__all__ = ["Shipped", "after_changes", "claim", "loaded", "wrong_keys"]

FINE_TUNE_LEARNING_RATE = 0.01
PRUNED_SHARE = 0.5
# One full chunk of the judge's re-estimation; the other test images measure accuracy.
_CALIBRATION = 128


@dataclass(frozen=True)
class Shipped:
    """What the demo's claims are read from.

    Attributes:
        file: the shipped weights.
        passport: the owner's folder, from which the claim is made.
        state: the weights in memory.
        dataset: what was learned.
        seed: of the demo.
        size: how much to do.
        tell: the progress callback.
    """

    file: Path
    passport: Path
    state: dict[str, Tensor]
    dataset: Dataset
    seed: int
    size: DemoSize
    tell: Callable[[str], None]


def claim(shipped: Shipped, owner: Owner, other: Owner) -> dict[str, Any]:
    """Verify the shipped file under the owner's key, and under another owner's.

    Args:
        shipped: the file and what it needs.
        owner: whose passport it is.
        other: somebody who has a key as well.

    Returns:
        Fields of `DemoResult`.
    """
    shipped.tell("verifying the shipped file")
    report = verify(
        shipped.file,
        passport=shipped.passport,
        owner=owner,
        model=fresh_model(shipped.dataset, 0),
        data=_judge_data(shipped.dataset),
        decoys=shipped.size.private_decoys,
        progress=_every_tenth(shipped.tell),
    )
    wrong = verify(shipped.file, passport=shipped.passport, owner=other).require_signature()
    signature = report.require_signature()
    if report.branch is None:
        raise AssertionError("verify was given a model and data but made no private check")
    return {
        "signature_bits": signature.bits,
        "signature_matches": signature.matches,
        "required_matches": signature.required_matches,
        "log10_p": signature.log10_p,
        "threshold_log2": signature.threshold_log2,
        "grinding_log2": UNANCHORED.grinding_log2,
        "median_margin": signature.median_margin,
        "verdict": report.verdict,
        "wrong_key_matches": wrong.matches,
        "wrong_key_log10_p": wrong.log10_p,
        "wrong_key_verdict": judge_signature(wrong, UNANCHORED)[0],
        "branch_word": report.branch.word,
        "branch_reason": report.branch.reason,
        "branch_accuracy": report.branch.private_accuracy,
        "branch_test_images": report.branch.test_images,
        "private_accuracy_of_decoys": report.branch.decoys,
    }


def _every_tenth(tell: Callable[[str], None]) -> Callable[[int, int, float], None]:
    def progress(done: int, planned: int, _: float) -> None:
        if done % 10 == 0 or done == planned:
            tell(f"running the private branch: wrong key {done} of {planned}")

    return progress


def _judge_data(dataset: Dataset) -> JudgeData:
    """Test images only: some without labels for the statistics, the others with them."""
    # The stored order follows the writers; a shuffle gives both parts all of them.
    order = torch.randperm(len(dataset.y_test), generator=torch.Generator().manual_seed(0))
    x, y = dataset.x_test[order], dataset.y_test[order]
    return JudgeData(x[:_CALIBRATION], x[_CALIBRATION:], y[_CALIBRATION:])


def wrong_keys(shipped: Shipped, passport: Passport) -> dict[str, Any]:
    """Read the shipped file under keys of nobody.

    Args:
        shipped: the file.
        passport: its list of layers and its rule.

    Returns:
        Fields of `DemoResult`.
    """
    count = shipped.size.wrong_keys
    shipped.tell(f"reading the bits under {count} wrong keys")
    anchor = passport.manifest.anchor
    layers = load_layers(open_weights(shipped.file), anchor.targets)
    matches = tuple(
        matches_of(layers, key, rows=anchor.passport_rule.rows)
        for key in decoy_keys(shipped.seed, count)
    )
    best = log_binomial_tail(max(matches), sum(target.bits for target in anchor.targets))
    return {"decoy_keys": count, "decoy_matches": matches, "decoy_best_log10_p": best / LN10}


def after_changes(shipped: Shipped, pair: Pair, owner: Owner) -> dict[str, Any]:
    """Verify again: against the twin, a copy that was trained on, and a copy cut to half.

    Args:
        shipped: the model as shipped.
        pair: the trained models.
        owner: whose claim it is.

    Returns:
        Fields of `DemoResult`.
    """
    size, dataset = shipped.size, shipped.dataset
    shipped.tell(f"training a copy on for {size.fine_tune_epochs} epochs without the mark")
    tuned = loaded(shipped.state, dataset)
    fine_tune(
        tuned,
        dataset,
        epochs=size.fine_tune_epochs,
        learning_rate=FINE_TUNE_LEARNING_RATE,
        seed=shipped.seed + 1,
    )
    shipped.tell(f"cutting the smallest {PRUNED_SHARE:g} of all weights from another copy")
    pruned = loaded(shipped.state, dataset)
    prune_smallest(pruned, PRUNED_SHARE)
    return {
        "unmarked": _outcome(shipped, pair.plain, owner),
        "fine_tuned": _outcome(shipped, tuned, owner),
        "fine_tune_epochs": size.fine_tune_epochs,
        "fine_tune_learning_rate": FINE_TUNE_LEARNING_RATE,
        "pruned": _outcome(shipped, pruned, owner),
        "pruned_share": PRUNED_SHARE,
        "margins": _margins(pair.passport, owner, pair.marked),
        "unmarked_margins": _margins(pair.passport, owner, pair.plain),
    }


def loaded(state: dict[str, Tensor], dataset: Dataset) -> nn.Module:
    """A plain model with some weights, in evaluation mode.

    Raises:
        RuntimeError: the weights are not exactly those of the plain architecture.
    """
    model = fresh_model(dataset, 0)
    model.load_state_dict(state, strict=True)
    return model.eval()


def _outcome(shipped: Shipped, suspect: nn.Module, owner: Owner) -> Outcome:
    report = verify(suspect, passport=shipped.passport, owner=owner)
    return Outcome(
        accuracy=accuracy(suspect, shipped.dataset.x_test, shipped.dataset.y_test),
        matches=report.require_signature().matches,
        log10_p=report.require_signature().log10_p,
        verdict=report.verdict,
    )


def _margins(passport: Passport, owner: Owner, model: nn.Module) -> tuple[float, ...]:
    """b·c·r of every bit of the owner's claim, read from a model; rounded for the report."""
    anchor = passport.manifest.anchor
    key = passport.manifest.model_key(owner)
    branch = PrivateBranch(model, anchor.targets, key, anchor.passport_rule)
    signs = branch.signed_bits()
    with torch.no_grad():
        margins = signs * branch.readings().gamma
    kept: list[float] = margins[signs != 0].double().tolist()
    return tuple(round(margin, 4) for margin in kept)
