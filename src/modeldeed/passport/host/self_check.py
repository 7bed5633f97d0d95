"""The self-check at issue: does the private branch do on this host what it is meant to do?

Four forwards of the user's own example in eval mode: the public branch twice, the private one,
and the *rebuilt* one, which is the host as it is with the private scales, biases and statistics
written into its norms. The rebuilt run takes no part of the private one: no replaced forward, no
kind. Only the norms' small tensors are exchanged, for the time of that run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.errors import PlanError
from modeldeed.passport.host.host_trace import all_tensors, quietly
from modeldeed.passport.host.reach import BufferGuard, as_call
from modeldeed.passport.norms.registry import (
    NormKind,
    RunningStatistics,
    kind_of,
    tracks_statistics,
)
from modeldeed.passport.private.branch import PrivateBranch

__all__ = ["require_sound"]

# Relative to the largest value: room for a kernel that rounds in another order, for nothing else.
_TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 5e-2, torch.float64: 1e-10}
_TOLERANCE_ELSE = 1e-4

Seen = list[tuple[str, float, float]]
"""Norm, a projection of its output and its size, call by call: enough to say where runs part."""


def require_sound(branch: PrivateBranch, example: Any) -> None:
    """Prove a private branch on the host's own example, or refuse it.

    Args:
        branch: a branch that was just made; nothing of it changes.
        example: a batch of the host's input.

    Raises:
        PlanError: a norm's kind does not reproduce the layer, a norm runs more or less often than
            planned, the private output is not that of the host with the private tensors written
            into it, or the private call left something of the host changed. The text names the
            norm.
        HostError: the private call skipped a planned norm.

    Note:
        Costs four forwards in eval mode. The memory beyond that of a forward is that of the
        outputs and of a copy of the host's buffers.
    """
    host = branch.host
    args, kwargs = as_call(example)

    def public() -> list[Tensor]:
        with quietly(host):
            return all_tensors(host(*args, **kwargs))

    with BufferGuard(host, [])():
        with _reproducing(branch):
            first = public()
        before = _state_of(host)
        with _watching(branch) as seen, quietly(host):
            private = all_tensors(branch(example))
        _require_planned_calls(branch, seen)
        with _watching(branch) as seen_rebuilt, _rebuilt(branch):
            rebuilt = public()
        _require_untouched(before, _state_of(host))
        _require_repeatable(first, public)
    if not all(map(_close, private, rebuilt)):
        raise PlanError(
            f"{_first_difference(seen, seen_rebuilt)}: the private branch is not this host with "
            "other scales and biases; the norm, or what calls it, does more than run its forward "
            "(exclude it, or see register_norm)"
        )


def _norms(branch: PrivateBranch) -> dict[str, tuple[nn.Module, NormKind]]:
    """Every norm that a private call runs otherwise."""
    names = {target.norm for target in branch.targets} | set(branch.statistics)
    return {
        name: (module, kind)
        for name, module in branch.host.named_modules()
        if name in names and (kind := kind_of(module)) is not None
    }


@contextmanager
def _hooked(hooks: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for module, hook in hooks.items():
            # Before a user's hooks: it shall see what the layer made.
            handle = module.register_forward_hook(hook, prepend=True)
            stack.callback(handle.remove)
        yield


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding; whole numbers follow from values that are compared themselves."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.is_floating_point() or not a.numel():
        return True
    tolerance = _TOLERANCE.get(a.dtype, _TOLERANCE_ELSE)
    a, b = (t if t.dtype == torch.float64 else t.float() for t in (a, b))
    if not torch.equal(a.isfinite(), b.isfinite()):
        return False
    a, b = a.nan_to_num(0, 0, 0), b.nan_to_num(0, 0, 0)
    return bool((a - b).abs().amax() <= tolerance * b.abs().amax())


@contextmanager
def _reproducing(branch: PrivateBranch) -> Iterator[None]:
    """Refuse a kind that, given the layer's own tensors, does not do what the layer does."""

    def checking(name: str, kind: NormKind) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Any, ...], out: Tensor) -> None:
            own = RunningStatistics.like(module) if tracks_statistics(module) else None
            scale, bias = getattr(module, "weight", None), getattr(module, "bias", None)
            if not _close(kind.apply(module, args[0], scale, bias, own), out):
                raise PlanError(
                    f"{name} ({type(module).__name__}): with its own scale, bias and statistics "
                    f"the kind {kind.name!r} gives another output than the layer itself; correct "
                    "what register_norm decorates, or exclude the layer"
                )

        return hook

    with _hooked({module: checking(name, kind) for name, (module, kind) in _norms(branch).items()}):
        yield


@contextmanager
def _watching(branch: PrivateBranch) -> Iterator[Seen]:
    """Note every call of the norms and what came out."""
    seen: Seen = []

    def noting(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, out: Tensor) -> None:
            values = out.float().flatten()
            # A plain mean would hardly differ: keeping it is what a norm is for.
            wave = torch.arange(len(values), device=out.device, dtype=values.dtype).cos()
            seen.append((name, float((values * wave).mean()), float(values.abs().mean())))

        return hook

    with _hooked({module: noting(name) for name, (module, _) in _norms(branch).items()}):
        yield seen


def _require_planned_calls(branch: PrivateBranch, seen: Seen) -> None:
    counts = Counter(name for name, *_ in seen)
    for name, planned in branch.calls.items():
        if counts[name] != planned:
            raise PlanError(
                f"{name} runs {counts[name]} times in the private call and {planned} times in the "
                "public one: the host takes another way when its norms differ; exclude it"
            )


@contextmanager
def _rebuilt(branch: PrivateBranch) -> Iterator[None]:
    """Write the private tensors into the host's own norms for the block."""
    pairs = branch.affine(branch.readings())
    affine = {target.norm: pair for target, pair in zip(branch.targets, pairs, strict=True)}
    # Of layers without tensors of their own.
    dtypes = {t.norm: branch.host.get_parameter(t.weight).dtype for t in branch.targets}
    written: list[tuple[dict[str, Any], str, Any]] = []
    hooks: dict[nn.Module, Callable[..., Any]] = {}
    try:
        for name, (module, kind) in _norms(branch).items():
            tensors = _private_tensors(
                module, affine.get(name), branch.statistics.get(name), dtypes.get(name)
            )
            slots = [
                (table, key)
                for table in (module._parameters, module._buffers)
                for key in tensors
                if key in table
            ]
            for table, key in slots:
                written.append((table, key, table[key]))
                table[key] = tensors[key]
            missing = set(tensors) - {key for _, key in slots}
            if missing:
                hooks[module] = _supplying(kind, tensors, missing, branch.statistics.get(name))
        with _hooked(hooks):
            yield
    finally:
        for table, key, tensor in reversed(written):
            table[key] = tensor


def _private_tensors(
    module: nn.Module,
    affine: tuple[Tensor, Tensor] | None,
    statistics: RunningStatistics | None,
    dtype: torch.dtype | None,
) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    if affine is not None:
        own = getattr(module, "weight", None)
        tensors = {
            name: value.to(dtype if own is None else own.dtype)
            for name, value in zip(("weight", "bias"), affine, strict=True)
        }
    if statistics is not None:
        tensors |= {"running_mean": statistics.mean, "running_var": statistics.var}
    return tensors


def _supplying(
    kind: NormKind,
    tensors: Mapping[str, Tensor],
    missing: set[str],
    statistics: RunningStatistics | None,
) -> Callable[..., Tensor]:
    """A hook that adds to a layer's output what the layer has no place for."""
    built_in = kind.apply.__module__.startswith("modeldeed.")

    def hook(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
        if missing == {"bias"} and built_in:
            return out + tensors["bias"]  # RMS norms: the channels are the last dimension
        # Where a kind that a user registered puts it is for that kind alone to say.
        return kind.apply(module, args[0], tensors["weight"], tensors["bias"], statistics)

    return hook


def _state_of(host: nn.Module) -> dict[str, Any]:
    """What a private call must leave as it was, cheap to compare."""
    small = 1 << 14
    return {
        "parameters": [(name, id(p), p._version) for name, p in host.named_parameters()],
        "values": [p.detach().clone() for p in host.parameters() if p.numel() <= small],
        "buffers": [b.detach().clone() for b in host.buffers()],
        "modes": [module.training for module in host.modules()],
        "forwards": [vars(module).get("forward") for module in host.modules()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks))
            for module in host.modules()
        ],
        "random state": torch.get_rng_state(),
    }


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return (
            torch.equal(a.nan_to_num(), b.nan_to_num())
            if a.is_floating_point()
            else bool(torch.equal(a, b))
        )
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def _require_untouched(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for part, value in before.items():
        if not _equal(value, after[part]):
            raise PlanError(
                f"a private call changes the host's {part}: something in its forward reacts to "
                "being run again; marking this host would not leave it as it is"
            )


def _require_repeatable(first: Sequence[Tensor], public: Callable[[], list[Tensor]]) -> None:
    """The public output after the private call is that before it: on a CPU bit for bit."""
    again = public()
    if _repeats(first, again):
        return
    if not _repeats(again, public()):
        raise PlanError(
            "the host gives another output each time it is run on the same input in eval mode: "
            "no private branch can be checked on it; make its eval mode deterministic"
        )
    raise PlanError("a private call changes the host's public output: it keeps state of its own")


def _repeats(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    if all(tensor.device.type == "cpu" for tensor in a):
        return _equal(list(a), list(b))
    # An accelerator may add up in another order each time.
    return len(a) == len(b) and all(map(_close, a, b))


def _first_difference(seen: Seen, rebuilt: Seen) -> str:
    for (name, value, _), (other, expected, size) in zip(seen, rebuilt, strict=False):
        if name != other or not abs(value - expected) <= _TOLERANCE_ELSE * size:
            return name
    return "behind the last norm"
