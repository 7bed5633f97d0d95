"""Training schedules: which samples of which step go through which branch.

Most of the cost of a passport is the second forward, so the second forward is kept small: a
share of the batch, every few steps. Spending the share in larger, rarer pieces is cheaper at the
same accuracy of the private branch, because small batches run inefficiently and their batch
statistics are poor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from modeldeed.errors import OptionError

__all__ = ["Cut", "Schedule", "Split", "TrainingRule", "batch_size", "portion"]

Schedule = Literal["pair", "reuse", "alternate", "both"]


@dataclass(frozen=True)
class Split:
    """The samples that each branch gets in one step, as half-open ranges."""

    public: tuple[int, int]
    private: tuple[int, int]


@dataclass(frozen=True)
class Cut:
    """How one batch is cut.

    Attributes:
        split: the samples of each branch.
        samples: N.
        dim: the inputs' batch dimension.
    """

    split: Split
    samples: int
    dim: int

    def public(self, batch: Any, dim: int | None = None) -> Any:
        """The public branch's part of inputs, or of targets along another dimension."""
        return portion(batch, self.split.public, self.samples, self.dim if dim is None else dim)

    def private(self, batch: Any, dim: int | None = None) -> Any:
        """The private branch's part."""
        return portion(batch, self.split.private, self.samples, self.dim if dim is None else dim)


@dataclass(frozen=True, kw_only=True)
class TrainingRule:
    """How a passport is trained; nothing of it is evidence.

    Attributes:
        schedule: ``"pair"``: the whole batch public, then its first samples private as well;
            ``"reuse"``: those samples private *instead*; ``"alternate"``: whole batches in turn,
            as in the paper; ``"both"``: every sample through both, as in the released code.
        share: part of the batch that the private branch gets under pair and reuse, in (0, 1];
            left out it is all of it, and under reuse half.
        interval: it gets it every so many steps; so does the signature loss. A longer interval
            wants a proportionally larger ``signature_weight``.
        margin: m of the signature hinge, in standard deviations of an unrelated weight; thin
            layers are asked for at most three quarters of what their few weights can reach.
        signature_weight: λ, weight of the signature loss.
        private_weight: weight of the private branch's loss.
        warmup: steps over which the weight of both marking losses rises from nothing to its full
            value; 0 starts with the full weight.
        batch_dim: dimension of the inputs' tensors along which samples lie; 1 for sequence-first
            hosts.
        target_dim: the same of the targets.
        early: compute the private gradients within `Passport.joint_loss`, before the public
            forward: the two graphs never live at once. False keeps both until the backward, as
            differentiating twice needs.

    Raises:
        OptionError: a field is out of range.
    """

    schedule: Schedule = "pair"
    share: float = None  # type: ignore[assignment]  # replaced below, never seen
    interval: int = 8
    margin: float = 5.0
    signature_weight: float = 8.0
    private_weight: float = 0.5
    warmup: int = 0
    batch_dim: int = 0
    target_dim: int = 0
    early: bool = True

    def __post_init__(self) -> None:
        if self.schedule not in get_args(Schedule):
            raise OptionError(
                f"schedule {self.schedule!r} is unknown; there are: {', '.join(get_args(Schedule))}"
            )
        share: Any = self.share
        if share is None:
            object.__setattr__(self, "share", 0.5 if self.schedule == "reuse" else 1.0)
        if not 0 < self.share <= 1:
            raise OptionError(f"share is in (0, 1], got {self.share}")
        if self.interval < 1:
            raise OptionError(f"interval is at least 1, got {self.interval}")
        if self.warmup < 0:
            raise OptionError(f"warmup is a number of steps ≥ 0, got {self.warmup}")
        for name in ("batch_dim", "target_dim"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} is counted from 0, got {getattr(self, name)}")
        for name in ("margin", "signature_weight", "private_weight"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0):
                raise OptionError(f"{name} is a finite number ≥ 0, got {value}")

    def strength(self, step: int) -> float:
        """The factor of both marking losses in a step, in (0, 1]."""
        return min(1.0, (step + 1) / (self.warmup + 1))

    def due(self, step: int) -> bool:
        """Tell whether the private branch and the signature take part in a step."""
        if self.schedule == "both":
            return True
        if self.schedule == "alternate":
            return step % 2 == 1
        return step % self.interval == 0

    def cut(self, samples: int) -> Cut:
        """How a batch of N samples is cut; see `split`."""
        return Cut(self.split(samples), samples, self.batch_dim)

    def split(self, samples: int) -> Split:
        """The samples of each branch in a step in which both take part.

        Args:
            samples: N, the size of the batch.

        Returns:
            The ranges; under reuse the public one is what the private one leaves.

        Raises:
            OptionError: under reuse nothing would be left public.
        """
        taken = math.ceil(self.share * samples)
        # Batch statistics of one sample are none: torch refuses them where nothing else is
        # averaged over. Under reuse the public branch needs its two as well.
        if samples >= (4 if self.schedule == "reuse" else 2):
            taken = max(taken, 2)
        if self.schedule == "pair":
            return Split((0, samples), (0, taken))
        if self.schedule == "reuse":
            if taken == samples:
                raise OptionError(
                    f"reuse with share {self.share} leaves none of {samples} samples to the "
                    "public branch; lower the share or enlarge the batch"
                )
            return Split((taken, samples), (0, taken))
        return Split((0, samples), (0, samples))


def batch_size(inputs: Any, dim: int = 0) -> int:
    """N, the common size of an input's tensors along the batch dimension.

    Args:
        inputs: a tensor, or nested; scalars in it belong to no sample.
        dim: the batch dimension.

    Raises:
        OptionError: there is no tensor, or they differ in size along it.
    """
    leaves = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.dim()]
    sizes = {leaf.shape[dim] if leaf.dim() > dim else None for leaf in leaves}
    size = sizes.pop() if len(sizes) == 1 else None
    if size is None:
        shapes = ", ".join(str(tuple(leaf.shape)) for leaf in leaves[:4])
        raise OptionError(
            f"the batch's tensors must have the same size along dimension {dim}, got "
            f"{f'shapes {shapes}' if leaves else 'no tensor'}; see TrainingRule(batch_dim=...), or "
            "call passport.private(...) on inputs you cut yourself"
        )
    return size


def portion(inputs: Any, samples: tuple[int, int], total: int, dim: int = 0) -> Any:
    """The given samples of every tensor in a nested input; the input itself when that is all.

    Args:
        inputs: a tensor, or nested.
        samples: half-open range.
        total: N.
        dim: the batch dimension.
    """
    start, stop = samples
    if (start, stop) == (0, total):
        return inputs
    return tree_map(
        lambda leaf: (
            leaf.narrow(dim, start, stop - start)
            if isinstance(leaf, Tensor) and leaf.dim() > dim
            else leaf
        ),
        inputs,
    )
