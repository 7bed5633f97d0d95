"""How the cost of an alignment grows: one architecture in three widths, in a process of its own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from benchmarks.cells import Values
from benchmarks.experiments._alignment_card import Sized
from benchmarks.experiments._alignment_rewrites import Renamed
from benchmarks.memory import resident_bytes
from benchmarks.pairs import owner_for
from modeldeed import Passport, models
from modeldeed.alignment import align
from modeldeed.attacks.invariance import permute
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.suspects import open_weights

__all__ = ["SIZES", "measure_size"]

SIZES = (16, 32, 64)
"""Widths of ResNet-50; 64 is its published size."""

_IMAGE = (3, 32, 32)


def measure_size(width: int) -> Values:
    """Mark an untrained ResNet-50 of some width and align a permuted copy of it.

    Memory is that of a fresh process, from the moment at which both models are there.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, width, torch.get_num_threads()).result()


def _measure(width: int, threads: int) -> Values:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = models.resnet50(10, width=width)
    owner, x = owner_for(0), torch.randn(4, *_IMAGE)
    passport = Passport.issue(model, owner, example=x)
    passport.embed([x], steps=1)
    anchor, key = passport.manifest.anchor, passport.manifest.model_key(owner)
    suspect = permute(model.eval(), x[:1], generator=torch.Generator().manual_seed(1))
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # start the high-water mark anew
    aligned = align(suspect, model, anchor.targets, seed=bytes(32), like=x, key=key)
    peak = resident_bytes("VmHWM") - before
    renamed = align(Renamed(suspect).eval(), model, anchor.targets, seed=bytes(32), like=x, key=key)
    layers = load_layers(open_weights(aligned.weights), anchor.targets)
    return Sized(
        host=f"ResNet-50, width {width}",
        parameters=sum(p.numel() for p in model.parameters()),
        channels=sum(target.channels for target in anchor.targets),
        bits=sum(target.bits for target in anchor.targets),
        matches_after=matches_of(layers, key),
        probe_seconds=aligned.probe_seconds,
        match_seconds=aligned.match_seconds,
        search_seconds=renamed.match_seconds,
        weight_bytes=sum(t.numel() * t.element_size() for t in model.state_dict().values()),
        peak_bytes=max(0, peak),
        threads=threads,
    ).model_dump(mode="json")
