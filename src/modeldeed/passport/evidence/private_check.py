"""L2: does the private branch work under the claimed key, and only under it?

Statistics of batch norms are re-estimated by one rule on the judge's own unlabelled data, for the
claimed key and for every wrong key (decoy) alike: with claimed statistics anybody can make the
private branch equal to the public one. The result supports or contradicts a claim; it never
decides one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modeldeed.anchor import Anchor
from modeldeed.errors import EvidenceError, HostError, OptionError
from modeldeed.passport.evidence.coloured import Factors
from modeldeed.passport.host.reach import evaluating
from modeldeed.passport.norms.registry import tracks_statistics
from modeldeed.passport.private.branch import PrivateBranch
from modeldeed.results import BranchEvidence, Support
from modeldeed.statistics import rank_p_value
from modeldeed.streams import KeyStream

__all__ = ["DEFAULT_DECOYS", "JudgeData", "check_branch", "decoy_keys", "private_accuracy"]

DEFAULT_DECOYS = 999
SEPARATION = 0.10
LARGEST_P = 0.05
_ENOUGH_EXCEEDANCES = 10
_CHUNK = 128

Progress = Callable[[int, int, float], None]
"""Called with (wrong keys done, planned, seconds they will take in all)."""


@dataclass(frozen=True)
class JudgeData:
    """The judge's own data.

    Attributes:
        calibration: unlabelled inputs, shape ``(N, *)``; 256 are usual.
        inputs: labelled inputs, shape ``(M, *)``; 256 are usual.
        labels: their classes, shape ``(M,)``, int64.

    Raises:
        OptionError: there are no inputs, or labels and inputs differ in number.
    """

    calibration: Tensor
    inputs: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.calibration) < 2 or len(self.inputs) < 1:
            raise OptionError("the judge's data need at least 2 unlabelled and 1 labelled inputs")
        if len(self.inputs) != len(self.labels):
            raise OptionError(f"{len(self.inputs)} labelled inputs but {len(self.labels)} labels")


def decoy_keys(seed: int, count: int) -> list[bytes]:
    """Wrong keys for comparison, reproducible from a recorded seed.

    Args:
        seed: any integer ≥ 0.
        count: how many.

    Returns:
        Independent 32-byte keys.
    """
    stream = KeyStream(bytes(32), "decoys", seed)
    return [stream.read(32) for _ in range(count)]


def private_accuracy(branch: PrivateBranch, data: JudgeData) -> float:
    """Accuracy of a private branch after re-estimating its batch statistics.

    Args:
        branch: the branch; its statistics are replaced.
        data: the judge's data, on the host's device.

    Returns:
        Accuracy in [0, 1].
    """
    for statistics in branch.statistics.values():
        statistics.mean.zero_()
        statistics.var.fill_(1.0)
        statistics.count, statistics.momentum = 0, None
    with torch.no_grad(), evaluating(branch.host):
        readings = branch.readings()
        if branch.statistics:
            with _estimating(branch.host):
                for chunk in torch.split(data.calibration, _CHUNK):
                    if len(chunk) > 1:
                        branch(chunk, readings)
        return _accuracy(lambda x: branch(x, readings), data)


@contextmanager
def _estimating(host: nn.Module) -> Iterator[None]:
    """Let the statistics, and nothing else (no dropout), behave as in training."""
    norms = [module for module in host.modules() if tracks_statistics(module)]
    for norm in norms:
        norm.training = True
    try:
        yield
    finally:
        for norm in norms:
            norm.training = False


def _accuracy(model: Callable[[Tensor], Tensor], data: JudgeData) -> float:
    hits = 0
    chunks = zip(torch.split(data.inputs, _CHUNK), torch.split(data.labels, _CHUNK), strict=True)
    for inputs, labels in chunks:
        hits += int((model(inputs).argmax(1) == labels).sum())
    return hits / len(data.labels)


def check_branch(
    host: nn.Module,
    anchor: Anchor,
    key: bytes,
    data: JudgeData,
    *,
    heads: dict[str, Tensor] | None = None,
    factors: Factors | None = None,
    decoys: int = DEFAULT_DECOYS,
    seed: int | None = None,
    progress: Progress | None = None,
) -> BranchEvidence:
    """Compare the claimed key's private branch with those of wrong keys.

    Args:
        host: the suspect's model code with the suspect's weights loaded.
        anchor: the claim's anchor: target list and rule.
        key: the claimed model key.
        data: the judge's data.
        heads: trained parameters of learned heads; None for keyed heads.
        factors: of a coloured reading, checked; None for one of weights.
        decoys: how many wrong keys to try; stops early once ten do as well as the claimed one.
        seed: of the wrong keys; None draws one, so that no claimant can know them beforehand.
        progress: told after every wrong key.

    Returns:
        Accuracies, rank p-value and the word.

    Raises:
        OptionError: fewer than one decoy.
        EvidenceError: the claim does not fit the host.
    """
    if decoys < 1:
        raise OptionError(f"at least one decoy is needed, got {decoys}")
    seed = secrets.randbits(63) if seed is None else seed
    start = time.perf_counter()
    with torch.no_grad(), evaluating(host):
        public = _accuracy(host, data)
    owner = private_accuracy(_branch(host, anchor, key, heads, factors), data)
    tried: list[float] = []
    began = time.perf_counter()
    for wrong in decoy_keys(seed, decoys):
        tried.append(private_accuracy(_branch(host, anchor, wrong, heads, factors), data))
        if progress:
            progress(len(tried), decoys, (time.perf_counter() - began) / len(tried) * decoys)
        if sum(accuracy >= owner for accuracy in tried) >= _ENOUGH_EXCEEDANCES:
            break
    p = rank_p_value(owner, tried)
    word, reason = _word(public, owner, tried, p, learned=heads is not None)
    return BranchEvidence(
        word=word,
        reason=reason,
        public_accuracy=public,
        private_accuracy=owner,
        decoys=tuple(tried),
        rank_p=p,
        planned_decoys=decoys,
        decoy_seed=seed,
        calibration_images=len(data.calibration),
        test_images=len(data.inputs),
        seconds=time.perf_counter() - start,
    )


def _branch(
    host: nn.Module,
    anchor: Anchor,
    key: bytes,
    heads: dict[str, Tensor] | None,
    factors: Factors | None,
) -> PrivateBranch:
    try:
        branch = PrivateBranch(host, anchor.targets, key, anchor.passport_rule, factors=factors)
        if heads is not None:
            branch.heads.load_state_dict(heads)
    except (HostError, OptionError, RuntimeError) as error:
        raise EvidenceError(f"the claim does not fit the model it is made to: {error}") from error
    return branch


def _word(
    public: float, owner: float, decoys: list[float], p: float, *, learned: bool
) -> tuple[Support, str]:
    best = max(decoys)
    if learned:
        return Support.UNINFORMATIVE, "learned heads can be fitted to any key: observation only"
    if best >= public - SEPARATION:
        return Support.UNINFORMATIVE, (
            f"a wrong key reaches {best:.3f} on a model of {public:.3f}: this branch hardly "
            "depends on the key"
        )
    if p > LARGEST_P and owner > best:
        return Support.UNINFORMATIVE, (
            f"{len(decoys)} wrong keys are too few to tell; try at least {round(1 / LARGEST_P) - 1}"
        )
    if owner >= best + SEPARATION:
        return Support.SUPPORTS, f"{owner:.3f} under this key, at most {best:.3f} under wrong ones"
    if owner <= best:
        return Support.CONTRADICTS, (
            f"{owner:.3f} under this key, no better than {best:.3f} under wrong ones"
        )
    return Support.UNINFORMATIVE, f"{owner:.3f} under this key is within 10 points of {best:.3f}"
