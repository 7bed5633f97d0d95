"""One private call: the host run with passport-made scales, and what its backward may need again.

A call prepares the private forwards once and replaces the layers' own for the host's forward.
Where a part of the host will be computed again in the backward (activation checkpointing), the
call's graph replaces them there too; see `modeldeed.passport.private.recompute`.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.errors import HostError
from modeldeed.passport.host.reach import BufferGuard, as_call, preserved_rng
from modeldeed.passport.host.replacing import replaced_forwards
from modeldeed.passport.norms.registry import NormKind, RunningStatistics
from modeldeed.passport.private.recompute import RecomputeWatch, follow

__all__ = ["Affine", "PrivateCall", "ReplacedNorm"]

Affine = Mapping[str, tuple[Tensor, Tensor]]
"""Name of a norm → its private (γ₁, β₁), each ``(C,)``, float32."""


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

    def forward(
        self, seen: Counter[str], watch: RecomputeWatch | None = None
    ) -> Callable[..., Tensor]:
        """The function called in place of the layer's forward.

        Args:
            seen: counts the runs of every layer.
            watch: told about every run; None when what runs is a recomputation itself.
        """
        module = self.module

        def forward(x: Tensor) -> Tensor:
            seen[self.name] += 1
            if watch is not None and not torch.compiler.is_compiling():
                watch.look()
            # Looked up when it runs: a sharded host has its weights only then.
            scale, bias = getattr(module, "weight", None), getattr(module, "bias", None)
            if self.affine is not None:
                # In the precision of the layer; one without tensors follows its input.
                kept = x if self.statistics is None else self.statistics.mean
                dtype = kept.dtype if scale is None else scale.dtype
                scale, bias = (tensor.to(dtype) for tensor in self.affine)
            return self.kind.apply(module, x, scale, bias, self.statistics)

        return forward


class PrivateCall:
    """A prepared private call.

    Args:
        host: the model.
        norms: every norm that runs otherwise than in the public call.
        expected: how often each planned norm must run.
        guard: of the host's other buffers.
        affine: computes the private (γ₁, β₁) of every planned norm from the present weights.
    """

    def __init__(
        self,
        host: nn.Module,
        norms: Sequence[ReplacedNorm],
        expected: Mapping[str, int],
        guard: BufferGuard,
        affine: Callable[[], Affine],
    ) -> None:
        self._host = host
        self._norms = tuple(norms)
        self._expected = expected
        self._guard = guard
        self._affine = affine

    def __call__(self, inputs: Any) -> Any:
        """Run the host privately; see `PrivateBranch.__call__`."""
        args, kwargs = as_call(inputs)
        seen: Counter[str] = Counter()
        watch = RecomputeWatch()
        forwards = {norm.module: norm.forward(seen, watch) for norm in self._norms}
        counts = [0 if norm.statistics is None else norm.statistics.count for norm in self._norms]
        with self.again(), replaced_forwards(forwards):
            output = self._host(*args, **kwargs)
        for name, expected in self._expected.items():
            if seen[name] < expected:
                raise HostError(
                    f"{name} ran {seen[name]} times in the private call, {expected} when the "
                    "passport was issued: the host skips it (a fused or compiled path, or layer "
                    "drop); exclude it from the plan or turn that path off"
                )
        for norm, count in zip(self._norms, counts, strict=True):
            if norm.statistics is not None and norm.module.training:
                # Layers that ran compiled have not counted their batches themselves.
                norm.statistics.count = count + seen[norm.name]
        if watch.noticed:
            self._follow(output, (args, kwargs))
        return output

    def _follow(self, output: Any, inputs: Any) -> None:
        """See to it that the backward of the call computes again what the call computed."""
        leaves = {
            norm.name: (norm.affine[0].detach(), norm.affine[1].detach())
            for norm in self._norms
            if norm.affine is not None
        }
        for norm in self._norms:
            for leaf, value in zip(leaves.get(norm.name, ()), norm.affine or (), strict=True):
                leaf.requires_grad_(value.requires_grad)
        # Neither counted nor in the statistics: those of the moment are kept for it.
        again = [
            replace(norm, affine=leaves.get(norm.name), statistics=copy.deepcopy(norm.statistics))
            for norm in self._norms
        ]

        def finish() -> None:
            _hand_on(leaves, self._affine)

        follow(
            output,
            (inputs, [norm.affine for norm in self._norms]),
            {norm.module: norm.forward(Counter()) for norm in again},
            guard=self._guard if self._guard.needed else None,
            finish=finish,
        )

    @contextmanager
    def again(self) -> Iterator[None]:
        """Keep the host's buffers and the random state while parts of it run."""
        with preserved_rng(self._host.parameters()), self._guard():
            yield


def _hand_on(leaves: Affine, affine: Callable[[], Affine]) -> None:
    """Pass gradients that reached recomputed layers on to the weights they are made from.

    A reentrant checkpoint runs a backward of its own for every part, up to the leaves; the private
    scales are no leaves, and the graph that made them can be walked only once.
    """
    reached = {name: pair for name, pair in leaves.items() if any(t.grad is not None for t in pair)}
    if not reached:
        return
    with torch.enable_grad():
        fresh = affine()
    pairs = [
        (fresh[name][i], leaf) for name, pair in reached.items() for i, leaf in enumerate(pair)
    ]
    outputs = [(output, leaf.grad) for output, leaf in pairs if leaf.grad is not None]
    for leaf in (leaf for _, leaf in pairs):
        leaf.grad = None
    torch.autograd.backward([output for output, _ in outputs], [grad for _, grad in outputs])
