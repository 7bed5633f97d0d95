"""Alignment: bits that come back after a network was rewritten without changing its function."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from pydantic import JsonValue
from torch import nn

from benchmarks.cells import Values
from benchmarks.experiments._alignment_card import (
    Alignments,
    LeftOut,
    Measured,
    Sized,
    render,
)
from benchmarks.experiments._alignment_hosts import HOSTS, AlignedHost, Victim, model_folder, owned
from benchmarks.experiments._alignment_rewrites import REWRITES, Rewrite, rewritten
from benchmarks.experiments._alignment_scale import SIZES, measure_size
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed.alignment.reading import read_aligned, twice
from modeldeed.attacks import AttackData
from modeldeed.data import Dataset
from modeldeed.digests import tensor_root
from modeldeed.errors import OptionError, SuspectError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.reading import load_layers, read_signature
from modeldeed.results import SignatureEvidence
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights
from modeldeed.training import accuracy

__all__ = ["alignment"]

SCALE = "scale"
_COMPARED = 256  # test samples whose outputs are compared


def _setting(name: str, description: str, seeds: tuple[int, ...], *, gpu: bool = False) -> Setting:
    return Setting(description, (*(host.name for host in HOSTS[name]), SCALE), seeds, gpu)


@dataclass
class _Scene:
    """A marked network with its data; made when the first cell is not kept."""

    run: Run
    host: AlignedHost
    seed: int
    _made: tuple[Dataset, Victim] | None = None

    @property
    def made(self) -> tuple[Dataset, Victim]:
        if self._made is None:
            dataset = self.host.load(self.run.data_root, self.run.device)
            folder = model_folder(self.run, self.host, self.seed)
            victim = owned(self.run, self.host, dataset, self.seed, folder)
            self._made = dataset, victim
        return self._made


@experiment(
    "alignment",
    "bits that come back when a network that was rewritten is aligned to its reference",
    {
        "quick": _setting("quick", "digits, six families: a quarter of an hour on one core", (0,)),
        "standard": _setting(
            "standard", "CIFAR-10 and point clouds: an hour or two on two cores", (0,)
        ),
        "full": _setting("full", "the papers' sizes, for a GPU", (0, 1, 2), gpu=True),
    },
    table=render,
)
def alignment(run: Run) -> Mapping[str, JsonValue]:
    """Rewrite every host in every way and align what comes of it; then three sizes."""
    chosen = [host for host in HOSTS[run.setting] if host.name in run.hosts]
    cells: list[Measured] = []
    left_out: list[LeftOut] = []
    for host in chosen:
        if run.has_data(host.name, host.data):
            for found in _host_cells(host, run):
                (cells if isinstance(found, Measured) else left_out).append(found)  # type: ignore[arg-type]
    sizes = [_size_cell(width, run) for width in SIZES] if SCALE in run.hosts else []
    for doubt in _doubts(cells, sizes):
        run.note(doubt)
    return Alignments(cells=tuple(cells), left_out=tuple(left_out), sizes=tuple(sizes)).model_dump(
        mode="json"
    )


def _host_cells(host: AlignedHost, run: Run) -> Iterator[Measured | LeftOut]:
    choices: Values = {**host.configuration(), "compared": _COMPARED}
    run.configuration[host.name] = {**choices, "rewrites": [r.configuration() for r in REWRITES]}
    for seed in run.seeds:
        scene = _Scene(run, host, seed)
        for rewrite in REWRITES:
            word = "".join(c if c.isalnum() else "-" for c in rewrite.name)
            kept = run.cell(
                f"{host.name}-{word}-{seed}",
                {**choices, "rewrite": rewrite.configuration(), "seed": seed},
                partial(_measure, scene, rewrite),
            )
            kind = LeftOut if "reason" in kept else Measured
            yield kind.model_validate(kept)


def _measure(scene: _Scene, rewrite: Rewrite) -> Values:
    host, (dataset, victim) = scene.host, scene.made
    data = AttackData(dataset, host.augmentation)
    generator = torch.Generator().manual_seed(scene.seed)
    start = time.perf_counter()
    try:
        suspect, done = rewritten(rewrite, victim.model, data, host.recipe, generator)
    except OptionError as error:
        left = LeftOut(host=host.name, rewrite=rewrite.name, reason=str(error)[:300])
        return left.model_dump(mode="json")
    seconds = time.perf_counter() - start
    budget = twice(Budget())
    direct = _direct(suspect, victim.claim, budget)
    aligned = read_aligned(
        suspect,
        victim.model,
        victim.claim,
        budget,
        base=hashlib.sha256(host.name.encode()).digest(),  # in the place of a deed's digest
        suspect_digest=tensor_root(suspect.state_dict()),
        order=victim.order,
        exhibit=victim.unmarked,
        decoys=0,
    )
    by_weight = {layer.weight: layer for layer in aligned.layers}.values()
    return Measured(
        host=host.name,
        seed=scene.seed,
        rewrite=rewrite.name,
        kind=rewrite.kind,
        done=done,
        bits=aligned.bits,
        held_back=aligned.unmatched or 0,
        readable=direct is not None,
        matches_before=0 if direct is None else direct.matches,
        matches_after=aligned.matches,
        matches_without=_without_rewriting(scene, rewrite, data),
        log2_p_before=0.0 if direct is None else direct.log2_p,
        log2_p_after=aligned.log2_p,
        channels=sum(layer.channels for layer in by_weight),
        found=sum(layer.found for layer in by_weight),
        plain_accuracy=victim.plain_accuracy,
        accuracy=victim.accuracy,
        rewritten_accuracy=accuracy(suspect, dataset.x_test, dataset.y_test),
        output_difference=_difference(victim.model, suspect, dataset),
        probe_seconds=aligned.probe_seconds,
        match_seconds=aligned.match_seconds,
        rewrite_seconds=seconds,
    ).model_dump(mode="json")


def _without_rewriting(scene: _Scene, rewrite: Rewrite, data: AttackData) -> int | None:
    """What reads directly after the changes of weights alone; None where there are none."""
    if not (rewrite.before or rewrite.after):
        return None
    victim = scene.made[1]
    bare = replace(rewrite, steps=(), mixture=False, renamed=False)
    generator = torch.Generator().manual_seed(scene.seed)
    changed, _ = rewritten(bare, victim.model, data, scene.host.recipe, generator)
    found = _direct(changed, victim.claim, Budget())
    return None if found is None else found.matches


def _direct(suspect: nn.Module, claim: PassportClaim, budget: Budget) -> SignatureEvidence | None:
    """The reading without alignment; None where the suspect has not the claim's tensors."""
    anchor = claim.manifest.anchor
    try:
        layers = load_layers(open_weights(suspect), anchor.targets)
    except SuspectError:
        return None
    return read_signature(layers, claim.model_key(), budget, rows=anchor.passport_rule.rows)


def _difference(model: nn.Module, suspect: nn.Module, dataset: Dataset) -> float | None:
    x = dataset.x_test[:_COMPARED]
    with torch.no_grad():
        wanted, got = model(x), suspect(x)
    found = float((wanted - got).abs().max() / wanted.abs().max())
    return found if math.isfinite(found) else None


def _size_cell(width: int, run: Run) -> Sized:
    choices: Values = {"network": "resnet50", "width": width, "threads": torch.get_num_threads()}
    run.configuration[f"{SCALE}-{width}"] = choices
    return Sized.model_validate(run.cell(f"{SCALE}-{width}", choices, partial(measure_size, width)))


def _doubts(cells: Sequence[Measured], sizes: Sequence[Sized]) -> Iterator[str]:
    """Missed targets."""
    for cell in cells:
        where = f"{cell.host}, {cell.rewrite}, seed {cell.seed}"
        least = {"pure": 1.0, "composed": 0.95, "lossy": 0.0}[cell.kind]
        if cell.share < least:
            yield f"{where}: {cell.matches_after} of {cell.bits - cell.held_back} bits back"
        if cell.kind == "pure" and not (cell.output_difference or 0.0) < 1e-3:
            yield f"{where}: outputs differ by {cell.output_difference}"
    for size in sizes:
        slowest = max(size.match_seconds, size.search_seconds)
        if slowest > 5:
            yield f"{size.host}: matched and rewritten in {slowest:.1f} s, not in 5"
