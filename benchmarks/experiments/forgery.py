"""Forgery: what the published rule and ours make of claims by somebody who owns nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from pydantic import JsonValue

from benchmarks.cells import Values
from benchmarks.experiments._forgery_card import Forged, Forgeries, Genuine, Handed, render
from benchmarks.experiments._forgery_hosts import (
    CIFAR,
    DIGITS,
    ForgeryHost,
    Victim,
    as_published,
)
from benchmarks.experiments._forgery_tries import described, tries
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import JudgeData, Report, verify
from modeldeed.attacks.forgery import (
    BruteForce,
    Claim,
    FittedKey,
    Forgery,
    Stolen,
    chance_of_best,
    examine,
    expected_best,
    judged,
    share_read,
)
from modeldeed.attacks.forgery.published import layers_of
from modeldeed.attacks.forgery.singular_vector import leading
from modeldeed.data import Dataset
from modeldeed.training import accuracy

__all__ = ["HOSTS", "forgery"]

HOSTS: dict[str, ForgeryHost] = {"quick": DIGITS, "standard": CIFAR}
_CALIBRATION = 128
_GUESSES = 200


@dataclass
class _Scene:
    """The victims of one seed, trained when the first cell is not kept."""

    host: ForgeryHost
    seed: int
    run: Run
    _made: tuple[Dataset, Victim, Victim] | None = None

    @property
    def made(self) -> tuple[Dataset, Victim, Victim]:
        """The data, the network marked as published, and the one marked by this package."""
        if self._made is None:
            dataset = self.host.load(self.run.data_root)
            victims = []
            for published in (True, False):
                self.run.say(
                    f"  training a network marked {'as published' if published else 'by us'}"
                )
                victims.append(Victim.trained(self.host, dataset, self.seed, published=published))
            self._made = dataset, victims[0], victims[1]
        return self._made

    def stolen(self, victim: Victim, folder: Path) -> Stolen:
        """What a forger holds of a victim; heads and statistics for the one who is given them."""
        dataset = self.made[0]
        private = victim.passport.branch.statistics
        return Stolen(
            model=victim.model,
            data=dataset,
            fresh=lambda number: self.host.build(dataset, 1_000 * (self.seed + 1) + number),
            folder=folder,
            heads=victim.heads(),
            statistics={name: (s.mean, s.var) for name, s in private.items()},
        )


@experiment(
    "forgery",
    "what the published rule and ours make of forged claims",
    {
        "quick": Setting("digits: five minutes on one core", (DIGITS.name,), (0, 1, 2)),
        "standard": Setting("CIFAR-10: about two hours on one core", (CIFAR.name,), (0,)),
    },
    table=render,
)
def forgery(run: Run) -> Mapping[str, JsonValue]:
    """Make every forgery under every seed."""
    host = HOSTS[run.setting]
    genuine: list[Genuine] = []
    forged: list[Forged] = []
    if run.has_data(host.name, host.data):
        run.configuration["host"] = host.configuration()
        for number, seed in enumerate(run.seeds):
            scene = _Scene(host, seed, run)
            common: Values = {"host": host.configuration(), "seed": seed}
            values = run.cell(f"owner-{seed}", common, partial(_genuine, scene))
            genuine.append(Genuine.model_validate(values))
            for attempt in tries(first=number == 0):
                choices: Values = {**common, **described(attempt)}
                run.configuration[f"{attempt.name}-{seed}"] = described(attempt)
                compute = partial(_forged, scene, attempt)
                forged.append(
                    Forged.model_validate(run.cell(f"{attempt.name}-{seed}", choices, compute))
                )
    return Forgeries(genuine=tuple(genuine), forged=tuple(forged)).model_dump(mode="json")


def _genuine(scene: _Scene) -> Values:
    dataset, published, ours = scene.made
    x, y = dataset.x_test, dataset.y_test
    result = examine(published.model, as_published(published), x, y)
    report = verify(ours.model, passport=ours.passport, owner=ours.owner)
    signature = report.require_signature()
    seen = [leading(layer)[0].sign() for layer in layers_of(ours.model, x[:4])]
    return Genuine(
        host=scene.host.name,
        seed=scene.seed,
        published_public_accuracy=result.public_accuracy,
        published_private_accuracy=result.private_accuracy,
        published_match_rate=result.match_rate,
        published_accepts=result.accepts,
        public_accuracy=accuracy(ours.model, x, y),
        matches=signature.matches,
        bits=signature.bits,
        verdict=report.verdict,
        ours_bits_read=share_read(seen, ours.bits()),
        bits_guessed=_guessed(ours),
    ).model_dump(mode="json")


def _guessed(victim: Victim) -> float:
    """Share of an owner's bits that random ones read, averaged."""
    generator = torch.Generator().manual_seed(0)
    bits = victim.bits()
    shares = [
        share_read([torch.randn(len(b), generator=generator).sign() for b in bits], bits)
        for _ in range(_GUESSES)
    ]
    return sum(shares) / len(shares)


def _forged(scene: _Scene, attempt: Forgery) -> Values:
    dataset, published, ours = scene.made
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(scene.seed)
    with TemporaryDirectory() as folder:
        claim = attempt.published(scene.stolen(published, Path(folder)), generator)
        claims = attempt.claims(scene.stolen(ours, Path(folder)), generator)
        handed = tuple(_handed(scene, made) for made in claims)
    x, y = dataset.x_test, dataset.y_test
    result = None if claim is None else examine(published.model, claim, x, y)
    keys, expected, chance = _search(attempt, handed[0])
    return Forged(
        forgery=attempt.name,
        seed=scene.seed,
        needs=attempt.needs,
        source=attempt.source,
        published_public_accuracy=result.public_accuracy if result else None,
        published_private_accuracy=result.private_accuracy if result else None,
        published_match_rate=result.match_rate if result else None,
        published_accepts=result.accepts if result else None,
        owner_bits_read=share_read(claim.bits, published.bits()) if claim else None,
        owner_bits_guessed=_guessed(published) if claim else None,
        ours_accepts=any(one.verdict.value == "verified" for one in handed),
        claims=handed,
        tries=keys,
        expected_matches=expected,
        chance=chance,
        seconds=time.perf_counter() - start,
    ).model_dump(mode="json")


def _search(attempt: Forgery, claim: Handed) -> tuple[int | None, float | None, float | None]:
    """Keys that a search in weights tried, what their best matches on average, and its chance."""
    keys = attempt.keys if isinstance(attempt, BruteForce) else None
    if isinstance(attempt, FittedKey):
        keys = attempt.steps
    if keys is None or claim.matches is None or claim.total is None:
        return keys, None, None
    best = expected_best(claim.total, keys)
    return keys, best, chance_of_best(claim.matches, claim.total, keys)


def _handed(scene: _Scene, claim: Claim) -> Handed:
    """Judge one claim against the stolen model, and against the forger's own copy."""
    dataset, _, ours = scene.made
    x, y = dataset.x_test, dataset.y_test
    beside = {}
    if claim.beside_model:
        held = JudgeData(x[:_CALIBRATION], x[_CALIBRATION:], y[_CALIBRATION:])
        beside = {"model": scene.host.build(dataset, scene.seed), "data": held}
    judgement = judged(claim, ours.model, **beside)  # type: ignore[arg-type]
    report = judgement.report
    evidence = report and (report.signature or report.answers)
    copy = claim.own_copy
    return Handed(
        what=claim.what,
        verdict=judgement.verdict,
        reason=judgement.reason,
        matches=evidence.matches if evidence else None,
        total=_total(report) if report else None,
        branch=report.branch.word.value if report and report.branch else None,
        branch_accuracy=report.branch.private_accuracy if report and report.branch else None,
        own_copy_verdict=None if copy is None else judged(claim, copy).verdict,
        own_copy_accuracy=None if copy is None else accuracy(copy, x, y),
        unbound_matches=claim.unbound[0] if claim.unbound else None,
        unbound_bits=claim.unbound[1] if claim.unbound else None,
    )


def _total(report: Report) -> int:
    """Bits read, or answers compared."""
    if report.signature is not None:
        return report.signature.bits
    return report.answers.queries if report.answers else 0
