"""One private call: the host run with passport-made scales, and what its backward may need again.

A call prepares the replaced forwards once. Running it installs them for the forward; whatever
recomputes activations in the backward (activation checkpointing) finds them through `again`.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from modeldeed.errors import HostError
from modeldeed.passport.norms import NormKind, RunningStatistics
from modeldeed.passport.reach import BufferGuard, as_call, preserved_rng, replaced_forwards

__all__ = ["PrivateCall", "ReplacedNorm"]


@dataclass(frozen=True)
class ReplacedNorm:
    """A norm as a private call runs it.

    Attributes:
        name: its name in the host.
        module: the host's layer.
        kind: how to run it.
        affine: the private (γ₁, β₁); None keeps the layer's own.
        statistics: the private batch statistics; None for a layer that tracks none.
    """

    name: str
    module: nn.Module
    kind: NormKind
    affine: tuple[Tensor, Tensor] | None
    statistics: RunningStatistics | None

    def forward(self, seen: Counter[str]) -> Callable[..., Tensor]:
        """The function called in place of the layer's forward."""
        own = getattr(self.module, "weight", None), getattr(self.module, "bias", None)
        scale, bias = own if self.affine is None else _like(own[0], self.affine)

        def forward(x: Tensor) -> Tensor:
            seen[self.name] += 1
            return self.kind.apply(self.module, x, scale, bias, self.statistics)

        return forward


class PrivateCall:
    """A prepared private call.

    Args:
        host: the model.
        norms: every norm that runs otherwise than in the public call.
        expected: how often each planned norm must run.
        guard: of the host's other buffers.
    """

    def __init__(
        self,
        host: nn.Module,
        norms: Sequence[ReplacedNorm],
        expected: Mapping[str, int],
        guard: BufferGuard,
    ) -> None:
        self._host = host
        self._norms = tuple(norms)
        self._expected = expected
        self._guard = guard

    def __call__(self, inputs: Any) -> Any:
        """Run the host privately; see `PrivateBranch.__call__`."""
        args, kwargs = as_call(inputs)
        with self._installed(self._norms) as seen:
            output = self._host(*args, **kwargs)
        for name, expected in self._expected.items():
            if seen[name] < expected:
                raise HostError(
                    f"{name} ran {seen[name]} times in the private call, {expected} when the "
                    "passport was issued: the host skips it (a fused or compiled path, or layer "
                    "drop); exclude it from the plan or turn that path off"
                )
        return output

    @contextmanager
    def again(self) -> Iterator[None]:
        """Let parts of the call be computed again, without counting them or their statistics."""
        norms = [replace(norm, statistics=copy.deepcopy(norm.statistics)) for norm in self._norms]
        with self._installed(norms):
            yield

    @contextmanager
    def _installed(self, norms: Sequence[ReplacedNorm]) -> Iterator[Counter[str]]:
        seen: Counter[str] = Counter()
        forwards = {norm.module: norm.forward(seen) for norm in norms}
        with (
            preserved_rng(self._host.parameters()),
            self._guard(),
            replaced_forwards(forwards),
        ):
            yield seen


def _like(own: Tensor | None, affine: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Cast the private affine to the dtype of the layer's own scale, if it has one."""
    dtype = affine[0].dtype if own is None else own.dtype
    return affine[0].to(dtype), affine[1].to(dtype)
