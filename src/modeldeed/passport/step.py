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

__all__ = ["Schedule", "Split", "TrainingRule", "batch_size", "portion"]

Schedule = Literal["pair", "reuse", "alternate", "both"]


@dataclass(frozen=True)
class Split:
    """The samples that each branch gets in one step, as half-open ranges."""

    public: tuple[int, int]
    private: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class TrainingRule:
    """How a passport is trained; nothing of it is evidence.

    Attributes:
        schedule: ``"pair"``: the whole batch public, then its first samples private as well;
            ``"reuse"``: those samples private *instead*; ``"alternate"``: whole batches in turn,
            as in the paper; ``"both"``: every sample through both, as in the released code.
        share: part of the batch that the private branch gets under pair and reuse, in (0, 1].
        interval: it gets it every so many steps; so does the signature loss. A longer interval
            wants a proportionally larger ``signature_weight``.
        margin: m of the signature hinge, in standard deviations of an unrelated weight; thin
            layers are asked for at most three quarters of what their few weights can reach.
        signature_weight: λ, weight of the signature loss.
        private_weight: weight of the private branch's loss.
        warmup: steps over which the weight of both marking losses rises from nothing to its full
            value; 0 starts with the full weight.
        early: compute the private gradients within `Passport.joint_loss`, before the public
            forward: the two graphs never live at once. False keeps both until the backward, as
            differentiating twice needs.

    Raises:
        OptionError: a field is out of range.
    """

    schedule: Schedule = "pair"
    share: float = 1.0
    interval: int = 8
    margin: float = 5.0
    signature_weight: float = 8.0
    private_weight: float = 0.5
    warmup: int = 0
    early: bool = True

    def __post_init__(self) -> None:
        if self.schedule not in get_args(Schedule):
            raise OptionError(
                f"schedule {self.schedule!r} is unknown; there are: {', '.join(get_args(Schedule))}"
            )
        if not 0 < self.share <= 1:
            raise OptionError(f"share is in (0, 1], got {self.share}")
        if self.schedule == "reuse" and self.share == 1:
            raise OptionError("reuse takes the share from the public branch; give it a share < 1")
        if self.interval < 1:
            raise OptionError(f"interval is at least 1, got {self.interval}")
        if self.warmup < 0:
            raise OptionError(f"warmup is a number of steps ≥ 0, got {self.warmup}")
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


def batch_size(inputs: Any) -> int:
    """N, the common first dimension of an input's tensors.

    Raises:
        OptionError: there is no tensor, or their first dimensions differ.
    """
    sizes = {
        leaf.shape[0] for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.dim()
    }
    if len(sizes) != 1:
        raise OptionError(
            f"the batch's tensors must share their first dimension, got sizes {sorted(sizes)}; "
            "call passport.private(...) on inputs you cut yourself"
        )
    return int(sizes.pop())


def portion(inputs: Any, samples: tuple[int, int], total: int) -> Any:
    """The given samples of every tensor in a nested input; the input itself when that is all."""
    start, stop = samples
    if (start, stop) == (0, total):
        return inputs
    return tree_map(
        lambda leaf: leaf[start:stop] if isinstance(leaf, Tensor) and leaf.dim() else leaf, inputs
    )
