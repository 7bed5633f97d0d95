"""One claim with its honest reference against independent networks: which bits match."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.experiments.retrofit import Batches
from benchmarks.hosts import Host
from benchmarks.records import Rate, Record
from modeldeed import Owner, Passport
from modeldeed.alignment import Aligned, OrderCheck, align, check_order, probe_seed
from modeldeed.alignment.anchored import in_place
from modeldeed.alignment.reading import read_aligned, twice
from modeldeed.anchor import ProbeInput
from modeldeed.attacks.invariance import permute
from modeldeed.data import Dataset
from modeldeed.digests import tensor_root
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.reading import load_layers, masked_margins
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights
from modeldeed.training import accuracy

__all__ = ["LEFT_IN", "KeyCell", "Pair", "decoded", "owner_of", "tried"]

LEFT_IN = "passports left in the reference"
_BASE = hashlib.sha256(b"alignment-null").digest()  # in the place of a deed's digest


class Pair(Record):
    """A key's claim read from one network, aligned to the key's reference.

    Attributes:
        matched: which bits match, packed, hexadecimal.
        readable: which can be read; the others count as mismatches.
        direct: matches of the direct reading.
        found: share of channels with a counterpart.
        similarity: mean cosine of those.
        seconds: of alignment and reading.
    """

    matched: str
    readable: str
    direct: int
    found: Rate
    similarity: Rate
    seconds: float


class KeyCell(Record):
    """One owner with his reference.

    Attributes:
        bits: n.
        accuracy: of the reference.
        order: share of its rows that the order check matched.
        own: matches of his reference, permuted, after alignment.
        pairs: with every suspect.
        broken: the same with some suspects by an alignment that leaves the passports in.
    """

    bits: int
    accuracy: Rate
    order: Rate
    own: int
    pairs: tuple[Pair, ...]
    broken: tuple[Pair, ...]


@dataclass(frozen=True)
class _Reference:
    """A marked network, the same before it was marked, its claim and the order of its channels."""

    model: nn.Module
    exhibit: nn.Module
    claim: PassportClaim
    order: OrderCheck

    @property
    def key(self) -> bytes:
        return self.claim.model_key()


def owner_of(number: int, seed: int) -> Owner:
    """A wrong owner that anybody can make again."""
    text = f"modeldeed benchmark, aligned owner {number} of seed {seed}"
    return Owner(hashlib.sha256(text.encode()).digest(), f"aligned {number}")


def tried(
    host: Host,
    dataset: Dataset,
    base: nn.Module,
    suspects: Sequence[nn.Module],
    owner: Owner,
    *,
    steps: int,
    broken: int,
    seed: int,
) -> KeyCell:
    """Mark a copy of a network for an owner and read his claim from independent ones.

    Args:
        host: whose batches the retrofit takes.
        dataset: its data.
        base: trained, unmarked; left as it is.
        suspects: independent of it.
        owner: who marks.
        steps: of the retrofit.
        broken: so many suspects are aligned wrongly, too.
        seed: of the retrofit's batches.
    """
    reference = _marked(host, dataset, base, owner, steps, seed)
    pairs = [_pair(reference, suspect, reference.key) for suspect in suspects]
    _require_agreement(reference, suspects[0], pairs[0])
    generator = torch.Generator().manual_seed(seed)
    own = _pair(
        reference, permute(reference.model, dataset.x_test[:2], generator=generator), reference.key
    )
    other = hashlib.sha256(reference.key).digest()
    return KeyCell(
        bits=reference.order.bits,
        accuracy=accuracy(reference.model, dataset.x_test, dataset.y_test),
        order=reference.order.share,
        own=int(decoded(own.matched, reference.order.bits).sum()),
        pairs=tuple(pairs),
        # Under a key that is not the claim's, other directions than its passports are taken out.
        broken=tuple(_pair(reference, suspect, other) for suspect in suspects[:broken]),
    )


def _marked(
    host: Host, dataset: Dataset, base: nn.Module, owner: Owner, steps: int, seed: int
) -> _Reference:
    model = copy.deepcopy(base)
    passport = Passport.issue(model, owner, example=dataset.x_train[:4])
    passport.embed(Batches(host, dataset, torch.Generator().manual_seed(seed)), steps=steps)
    anchor, key = passport.manifest.anchor, passport.manifest.model_key(owner)
    order = check_order(anchor, key, open_weights(base), open_weights(model.eval().state_dict()))
    return _Reference(model, base, PassportClaim.of(passport, owner), order)


def _pair(reference: _Reference, suspect: nn.Module, removed: bytes) -> Pair:
    start = time.perf_counter()
    targets = reference.claim.manifest.anchor.targets
    aligned = align(
        suspect,
        reference.model,
        targets,
        seed=probe_seed(_BASE, tensor_root(suspect.state_dict())),
        like=_probes(reference),
        key=removed,
        exhibit=reference.exhibit,
    )
    margins = _margins(reference, _as_judged(reference, aligned, removed))
    seconds = time.perf_counter() - start
    direct = masked_margins(load_layers(open_weights(suspect), targets), reference.key)
    layers = {layer.weight: layer for layer in aligned.layers}.values()
    channels = sum(layer.channels for layer in layers)
    found = sum(layer.found for layer in layers)
    return Pair(
        matched=_encoded(margins > 0),
        readable=_encoded(~margins.isnan()),
        direct=int((direct > 0).sum()),
        found=found / channels,
        similarity=min(1.0, sum(x.similarity * x.found for x in layers) / max(1, found)),
        seconds=seconds,
    )


def _probes(reference: _Reference) -> ProbeInput:
    probes = reference.claim.manifest.anchor.probes
    if probes is None:
        raise AssertionError("a passport of this version says what its host takes")
    return probes


def _as_judged(reference: _Reference, aligned: Aligned, removed: bytes) -> Mapping[str, Tensor]:
    """What is read of it: its own exhibit's coordinates, but for the alignment that is broken."""
    if removed != reference.key:
        return aligned.weights
    anchor = reference.claim.manifest.anchor
    placed = {layer.weight: layer.placed for layer in aligned.layers}
    rows = anchor.passport_rule.rows
    return in_place(
        aligned.weights, reference.exhibit, anchor.targets, removed, rows, placed=placed
    ).weights


def _margins(reference: _Reference, weights: Mapping[str, Tensor]) -> Tensor:
    targets = reference.claim.manifest.anchor.targets
    held = []
    for layer, checked in zip(
        load_layers(open_weights(weights), targets), reference.order.layers, strict=True
    ):
        sign = layer.scale_sign.clone()
        sign[list(checked.unmatched)] = 0  # cannot be read, so it counts as a mismatch
        held.append(replace(layer, scale_sign=sign))
    return masked_margins(held, reference.key)


def _require_agreement(reference: _Reference, suspect: nn.Module, pair: Pair) -> None:
    """What is counted here must be what a judge counts."""
    found = read_aligned(
        suspect,
        reference.model,
        reference.claim,
        twice(Budget()),
        base=_BASE,
        suspect_digest=tensor_root(suspect.state_dict()),
        order=reference.order,
        exhibit=reference.exhibit,
        decoys=0,
    )
    matches = int(decoded(pair.matched, found.bits).sum())
    if matches != found.matches:
        raise AssertionError(f"{matches} matches counted, {found.matches} by the aligned reading")


def _encoded(flags: Tensor) -> str:
    return np.packbits(flags.numpy()).tobytes().hex()


def decoded(packed: str, count: int) -> NDArray[np.bool_]:
    """Flags that were packed.

    Args:
        packed: hexadecimal.
        count: how many.
    """
    raw = np.frombuffer(bytes.fromhex(packed), np.uint8)
    return np.unpackbits(raw, count=count).astype(bool)
