"""The plan: which norms carry a passport, bound to which weight, and why the others do not.

The plan is made before anything is changed. Left to itself it holds every usable norm, in the
order in which the host registers them: the canonical list that an anchor commits to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.anchor import Target
from modeldeed.errors import OptionError, PlanError
from modeldeed.passport.bindings import Binding, Refusal, bind, trace_host
from modeldeed.passport.norms import NormKind, kind_of, tracks_statistics
from modeldeed.passport.reach import as_call

__all__ = ["LeftOut", "Plan", "PlannedNorm", "Selector", "make_plan"]

PLANNER_VERSION = 1
MIN_FAN = 9
ZERO_SCALE = 1e-3

Selector = str | re.Pattern[str] | Callable[[str, nn.Module], bool]
"""A name or glob, a compiled regex, or a predicate on (name, layer)."""


@dataclass(frozen=True)
class PlannedNorm:
    """One norm that carries a passport.

    Attributes:
        target: its entry in the canonical list.
        rank: numerical rank of the bound weight's rows at issue.
        ties: other state-dict names of the same weight.
        calls: how often the norm runs in one forward.
    """

    target: Target
    rank: int
    ties: tuple[str, ...]
    calls: int


@dataclass(frozen=True)
class LeftOut:
    """One norm that carries none.

    Attributes:
        norm: its name in the host.
        kind: its registered kind, or its class name.
        reason: why.
        chosen: left out by the owner's choice rather than by rule.
        blocking: it would be changed by a private call, so the host is refused as a whole.
    """

    norm: str
    kind: str
    reason: str
    chosen: bool = False
    blocking: bool = False


@dataclass(frozen=True)
class Plan:
    """Which norms of a host carry passports.

    Attributes:
        planned: the norms that do, in canonical order.
        left_out: the norms that do not.
    """

    planned: tuple[PlannedNorm, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """The canonical target list."""
        return tuple(entry.target for entry in self.planned)

    @property
    def bits(self) -> int:
        """Signature bits in all."""
        return sum(target.bits for target in self.targets)

    @property
    def excluded(self) -> tuple[str, ...]:
        """Norms the owner left out by choice; they stand in the anchor."""
        return tuple(entry.norm for entry in self.left_out if entry.chosen)

    def require_usable(self) -> None:
        """Refuse a plan that cannot be carried out.

        Raises:
            PlanError: no norm carries a bit, or a layer would be changed by private calls.
        """
        blocking = [entry for entry in self.left_out if entry.blocking]
        if blocking:
            raise PlanError(
                "; ".join(f"{entry.norm} ({entry.kind}): {entry.reason}" for entry in blocking)
            )
        if self.bits == 0:
            reasons = "; ".join(f"{e.norm}: {e.reason}" for e in self.left_out[:5])
            raise PlanError(
                "this host has no normalization layer that can carry a passport"
                + (f" ({reasons})" if reasons else "")
                + "; the marks that need none are a trigger set and a plug-in "
                "(the README says which exist yet)"
            )


def make_plan(
    model: nn.Module,
    example: Any,
    *,
    targets: Selector | Iterable[Selector] | None = None,
    exclude: Selector | Iterable[Selector] | None = None,
) -> Plan:
    """Plan which norms of a host carry passports.

    Args:
        model: the host; it is traced once in eval mode and left as it was.
        example: a small batch of its input: a tensor, a tuple of positional or a dict of keyword
            arguments.
        targets: only these norms; None for all.
        exclude: not these.

    Returns:
        The plan; nothing is refused yet, see `Plan.require_usable`.

    Raises:
        OptionError: a name in ``targets`` or ``exclude`` fits no norm.
        PlanError: the model is a wrapper around the host, or its weights are not finite.
    """
    _refuse_wrapped(model)
    norms = {
        name: module
        for name, module in model.named_modules()
        if kind_of(module) is not None or tracks_statistics(module)
    }
    chosen = _selected(norms, targets, exclude)
    args, kwargs = as_call(example)
    trace = trace_host(model, norms, args, kwargs)
    aliases = _aliases(model)
    parameters = dict(model.named_parameters())
    planned: list[PlannedNorm] = []
    left_out: list[LeftOut] = []
    taken: dict[tuple[str, int], str] = {}
    for name, module in norms.items():
        kind = kind_of(module)
        if kind is None:
            reason = "its class is not registered but keeps statistics; see register_norm"
            left_out.append(LeftOut(name, type(module).__name__, reason, blocking=True))
            continue
        if name not in chosen:
            left_out.append(LeftOut(name, kind.name, "excluded", chosen=True))
            continue
        channels = kind.channels(module)
        if isinstance(channels, str):
            left_out.append(LeftOut(name, kind.name, channels))
            continue
        binding = bind(trace, name, channels, parameters)
        target = _target(name, module, kind, channels, binding, parameters, taken)
        if isinstance(target, str):
            left_out.append(LeftOut(name, kind.name, target))
            continue
        taken[target.weight, target.axis] = name
        weight = parameters[target.weight]
        planned.append(
            PlannedNorm(
                target,
                _rank(weight, target.axis),
                tuple(aliases[id(weight)] - {target.weight}),
                len(trace.inputs[name]),
            )
        )
    return Plan(tuple(planned), tuple(left_out))


def _refuse_wrapped(model: nn.Module) -> None:
    """Refuse a wrapper: its prefix would stand in every name, and in no deployed file."""
    for attribute, wrapper in (("_orig_mod", "torch.compile"), ("module", "a parallel wrapper")):
        parallel = type(model).__module__.startswith(("torch.nn.parallel", "torch._dynamo"))
        if parallel and isinstance(getattr(model, attribute, None), nn.Module):
            raise PlanError(
                f"this {type(model).__name__} is made by {wrapper}; issue the passport on the "
                f"model inside (model.{attribute})"
            )


def _target(
    name: str,
    module: nn.Module,
    kind: NormKind,
    channels: int,
    binding: Binding | Refusal,
    parameters: Mapping[str, Tensor],
    taken: Mapping[tuple[str, int], str],
) -> Target | str:
    """The norm's entry in the canonical list, or why it has none."""
    if isinstance(binding, Refusal):
        return binding.reason
    weight = parameters[binding.weight]
    fan = weight.numel() // channels
    if fan < MIN_FAN:
        return (
            f"{binding.weight} has only {fan} weights per channel, fewer than {MIN_FAN}: "
            "bits would cost too much of each filter's freedom"
        )
    if (binding.weight, binding.axis) in taken:
        owner = taken[binding.weight, binding.axis]
        return f"{binding.weight} already carries the passport of {owner}"
    scale = getattr(module, "weight", None)
    left_out = _zero_channels(scale) if isinstance(scale, Tensor) else ()
    if len(left_out) == channels:
        return "its scale is zero in every channel at issue (zero-initialized residual)"
    return Target(
        norm=name,
        kind=kind.name,
        channels=channels,
        affine=f"{name}.weight".lstrip(".") if isinstance(scale, Tensor) else None,
        weight=binding.weight,
        shape=tuple(weight.shape),
        axis=binding.axis,
        side=binding.side,
        left_out=left_out,
    )


def _zero_channels(scale: Tensor) -> tuple[int, ...]:
    size = scale.detach().abs().float()
    return tuple(torch.nonzero(size <= ZERO_SCALE * size.median()).flatten().tolist())


def _rank(weight: Tensor, axis: int) -> int:
    """Numerical rank of the rows, through the smaller Gram matrix."""
    rows = weight.detach().movedim(axis, 0).flatten(1).double()
    if not bool(rows.isfinite().all()):
        raise PlanError(
            "a bound weight holds NaN or infinite values; a passport needs a sound host"
        )
    if rows.shape[0] > rows.shape[1]:
        rows = rows.T
    tolerance = (torch.finfo(torch.float32).eps * max(rows.shape)) ** 2
    return int(torch.linalg.matrix_rank(rows @ rows.T, hermitian=True, rtol=tolerance))


def _aliases(model: nn.Module) -> dict[int, set[str]]:
    names: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    return names


def _selected(
    norms: Mapping[str, nn.Module],
    targets: Selector | Iterable[Selector] | None,
    exclude: Selector | Iterable[Selector] | None,
) -> set[str]:
    included = set(norms) if targets is None else _matching(norms, targets, "targets")
    return included - (set() if exclude is None else _matching(norms, exclude, "exclude"))


def _matching(
    norms: Mapping[str, nn.Module], selectors: Selector | Iterable[Selector], option: str
) -> set[str]:
    single = isinstance(selectors, str | re.Pattern) or callable(selectors)
    found: set[str] = set()
    for selector in [selectors] if single else selectors:  # type: ignore[union-attr]
        matches = {name for name, norm in norms.items() if _fits(selector, name, norm)}
        if not matches and isinstance(selector, str | re.Pattern):
            shown = selector if isinstance(selector, str) else selector.pattern
            raise OptionError(
                f"{option}: {shown!r} fits none of the host's {len(norms)} norms "
                f"({', '.join(list(norms)[:6])}{' …' if len(norms) > 6 else ''})"
            )
        found |= matches
    return found


def _fits(selector: Any, name: str, norm: nn.Module) -> bool:
    if isinstance(selector, str):
        return fnmatchcase(name, selector)
    if isinstance(selector, re.Pattern):
        return selector.fullmatch(name) is not None
    return bool(selector(name, norm))
