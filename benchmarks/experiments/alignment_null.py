"""The null of the aligned reading: honest references against networks that share nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import nn

from benchmarks.cells import Values
from benchmarks.experiments._alignment_hosts import model_folder, trained
from benchmarks.experiments._alignment_null_card import (
    EDGES,
    LEVEL,
    Broken,
    Nulls,
    Population,
    render,
)
from benchmarks.experiments._alignment_null_pairs import (
    LEFT_IN,
    KeyCell,
    Pair,
    decoded,
    owner_of,
    tried,
)
from benchmarks.experiments._fresh_bits import fresh_bits_p_value
from benchmarks.hosts import Host
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed.alignment.reading import twice
from modeldeed.data import Dataset
from modeldeed.statistics import (
    Budget,
    randomized_p_values,
    required_matches,
    uniformity_p_value,
)
from modeldeed.training import Recipe, accuracy

__all__ = ["Design", "alignment_null"]

RESAMPLES = 999


@dataclass(frozen=True, kw_only=True)
class Design:
    """One architecture: how many networks, how many claims.

    Attributes:
        host: what is trained.
        suspects: independent networks without a mark.
        bases: further ones, that claims are embedded in.
        keys: claims, which take turns with the bases.
        steps: of each retrofit.
        broken: suspects that a broken alignment is tried on.
    """

    host: Host
    suspects: int
    bases: int
    keys: int
    steps: int
    broken: int

    def configuration(self) -> Values:
        """For the card."""
        own: Values = {name: getattr(self, name) for name in ("suspects", "bases", "keys")}
        return {**self.host.configuration(), **own, "steps": self.steps, "broken": self.broken}


_SMALL = Host(
    data="digits", network="small_cnn",
    recipe=Recipe(epochs=5, optimizer="adam", learning_rate=0.01, weight_decay=1e-4),
)  # fmt: skip
_RESNET = Host(data="digits", network="resnet_small", recipe=Recipe(epochs=6))
_VIT = Host(
    data="digits", network="vit", norm="layer",
    recipe=Recipe(epochs=12, optimizer="adam", learning_rate=2e-3, weight_decay=1e-4),
)  # fmt: skip
DESIGNS: dict[str, tuple[Design, ...]] = {
    "quick": (
        Design(host=_SMALL, suspects=20, bases=5, keys=105, steps=20, broken=2),
        Design(host=_VIT, suspects=4, bases=1, keys=20, steps=20, broken=1),
    ),
    "standard": (
        Design(host=_RESNET, suspects=21, bases=5, keys=100, steps=20, broken=2),
        Design(host=_VIT, suspects=20, bases=5, keys=50, steps=20, broken=2),
    ),
}


def _setting(name: str, description: str) -> Setting:
    return Setting(description, tuple(design.host.name for design in DESIGNS[name]), (0,))


@experiment(
    "alignment-null",
    "honest references against independently trained models: false positives and p-values of "
    "aligned readings",
    {
        "quick": _setting("quick", "digits, a small CNN and a ViT: ten minutes on one core"),
        "standard": _setting("standard", "digits, a ResNet and a ViT: an hour on one core"),
    },
    table=render,
)
def alignment_null(run: Run) -> Mapping[str, JsonValue]:
    """Read every claim from every independent network."""
    populations = [
        _population(design, seed, run)
        for design in DESIGNS[run.setting]
        for seed in run.seeds
        if design.host.name in run.hosts and run.has_data(design.host.name, design.host.data)
    ]
    metrics = Nulls.of(populations)
    for doubt in _doubts(metrics):
        run.note(doubt)
    return metrics.model_dump(mode="json")


@dataclass
class _Scene:
    """The networks of one design; each is made, or read, when it is first asked for."""

    design: Design
    seed: int
    run: Run
    _dataset: Dataset | None = None
    _suspects: list[nn.Module] | None = None

    @property
    def dataset(self) -> Dataset:
        if self._dataset is None:
            self._dataset = self.design.host.load(self.run.data_root, self.run.device)
        return self._dataset

    @property
    def suspects(self) -> list[nn.Module]:
        if self._suspects is None:
            self._suspects = [self.network(n) for n in range(self.design.suspects)]
        return self._suspects

    def base(self, key: int) -> nn.Module:
        return self.network(self.design.suspects + key % self.design.bases)

    def network(self, number: int) -> nn.Module:
        seed = 100_000 * self.seed + number
        path = model_folder(self.run, self.design.host, seed) / "plain.safetensors"
        return trained(self.run, self.design.host, self.dataset, seed, path)


def _population(design: Design, seed: int, run: Run) -> Population:
    name = design.host.name
    choices = design.configuration()
    run.configuration[name] = {**choices, "budget": asdict(twice(Budget()))}
    scene = _Scene(design, seed, run)

    def networks() -> Values:
        return {"accuracies": [_accuracy(m, scene.dataset) for m in scene.suspects]}

    def claim(number: int) -> Values:
        return tried(
            design.host, scene.dataset, scene.base(number), scene.suspects,
            owner_of(number, seed), steps=design.steps, broken=design.broken, seed=number,
        ).model_dump(mode="json")  # fmt: skip

    fixed: Values = {**choices, "seed": seed}
    del fixed["keys"]  # more of them may be asked for later
    kept = run.cell(f"{name}-suspects-{seed}", fixed, networks)
    cells = [
        KeyCell.model_validate(
            run.cell(f"{name}-key-{number}-{seed}", {**fixed, "key": number},
                     partial(claim, number))
        )
        for number in range(design.keys)
    ]  # fmt: skip
    accuracies = [float(rate) for rate in kept["accuracies"]]  # type: ignore[union-attr,arg-type]
    return _summed(design, seed, cells, accuracies)


def _accuracy(model: nn.Module, dataset: Dataset) -> float:
    return accuracy(model, dataset.x_test, dataset.y_test)


def _summed(
    design: Design, seed: int, cells: Sequence[KeyCell], accuracies: Sequence[float]
) -> Population:
    bits = cells[0].bits
    required = required_matches(bits, twice(Budget()))
    if required is None:
        raise ValueError(f"{design.host.name}: no claim of {bits} bits could ever verify")
    pairs = [pair for cell in cells for pair in cell.pairs]
    matches = _matches(cells, lambda cell: cell.pairs)
    draws = _draws(design.host.name, seed)
    p_values = np.array(randomized_p_values(matches.ravel().tolist(), bits, seed=draws))
    by_suspect = p_values.reshape(matches.shape).T
    tests = [uniformity_p_value(column.tolist(), one_sided=True) for column in by_suspect]
    spread = (matches.ravel() - bits / 2) / (bits**0.5 / 2)
    return Population(
        host=design.host.name,
        seed=seed,
        suspects=matches.shape[1],
        bases=design.bases,
        keys=len(cells),
        pairs=matches.size,
        lowest_accuracy=min(accuracies),
        mean_accuracy=fmean(accuracies),
        lowest_reference_accuracy=min(cell.accuracy for cell in cells),
        bits=bits,
        lowest_order=min(cell.order for cell in cells),
        required=required,
        true_verified=sum(cell.own >= required for cell in cells),
        direct_false_positives=sum(pair.direct >= required for pair in pairs),
        false_positives=int((matches >= required).sum()),
        keys_with_false_positives=int((matches >= required).any(1).sum()),
        most_matches=int(matches.max()),
        mean_share=float(matches.mean() / bits),
        histogram=tuple(np.bincount(np.digitize(spread, EDGES), minlength=len(EDGES) + 1).tolist()),
        ks_p=_fresh(cells, lambda cell: cell.pairs, draws),
        ks_p_pooled=uniformity_p_value(p_values.tolist(), one_sided=True),
        ks_p_smallest=min(1.0, min(tests) * len(tests)),
        resamples=RESAMPLES,
        found=fmean(pair.found for pair in pairs),
        similarity=fmean(pair.similarity for pair in pairs),
        seconds=fmean(pair.seconds for pair in pairs),
        broken=_broken(cells, draws),
    )


def _broken(cells: Sequence[KeyCell], draws: int) -> Broken:
    matches = _matches(cells, lambda cell: cell.broken)
    return Broken(
        what=LEFT_IN,
        pairs=matches.size,
        mean_share=float(matches.mean() / cells[0].bits),
        ks_p=_fresh(cells, lambda cell: cell.broken, draws),
    )


Pairs = Callable[[KeyCell], tuple[Pair, ...]]


def _matches(cells: Sequence[KeyCell], of: Pairs) -> NDArray[np.int64]:
    """Matching bits, ``(keys, suspects)``."""
    counts = [[int(decoded(p.matched, cell.bits).sum()) for p in of(cell)] for cell in cells]
    return np.array(counts, np.int64)


def _fresh(cells: Sequence[KeyCell], of: Pairs, draws: int) -> float:
    matched = [[decoded(p.matched, cell.bits) for p in of(cell)] for cell in cells]
    readable = [[decoded(p.readable, cell.bits) for p in of(cell)] for cell in cells]
    return fresh_bits_p_value(
        np.array(matched), np.array(readable), resamples=RESAMPLES, seed=draws
    )


def _draws(name: str, seed: int) -> int:
    """The seed of a population's draws: fixed by its name, so nobody can try another."""
    digest = hashlib.sha256(f"alignment-null {name} {seed}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def _doubts(metrics: Nulls) -> Iterator[str]:
    """What a reader of the card must not overlook."""
    if metrics.false_positives:
        yield f"{metrics.false_positives} pairs were verified: the alignment is wrong"
    if metrics.ks_p < LEVEL:
        yield f"p-values are smaller than uniform (KS p {metrics.ks_p:.1e}): the alignment is wrong"
    for found in metrics.populations:
        if found.ks_p_smallest < LEVEL:
            yield f"{found.host}: a suspect's own p-values are smaller than uniform"
        if found.true_verified < found.keys:
            missed = found.keys - found.true_verified
            yield f"{found.host}: {missed} references were not verified in permuted copies"
        if found.broken.ks_p >= LEVEL:
            yield (
                f"{found.host}: the broken alignment was not rejected "
                f"(KS p {found.broken.ks_p:.3f}); the test is weak"
            )
