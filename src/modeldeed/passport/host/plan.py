"""The plan: which norms carry a passport, bound to which weight, and why the others do not.

The plan is made before anything is changed. Left to itself it holds every usable norm, in the
order in which the host registers them: the canonical list that an anchor commits to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from modeldeed.anchor import Target
from modeldeed.errors import PlanError
from modeldeed.passport.host.arguments import require_traceable
from modeldeed.passport.host.bindings import Binding, Refusal, bind
from modeldeed.passport.host.flow import Trace
from modeldeed.passport.host.host_trace import trace_host
from modeldeed.passport.host.selection import Selector, selected
from modeldeed.passport.norms.foreign_layers import looks_like_norm
from modeldeed.passport.norms.registry import NormKind, kind_of, tracks_statistics

__all__ = ["LeftOut", "Plan", "PlannedNorm", "Selector", "make_plan"]

PLANNER_VERSION = 1
MIN_FAN = 9
ZERO_SCALE = 1e-3


@dataclass(frozen=True)
class PlannedNorm:
    """One norm that carries a passport.

    Attributes:
        target: its entry in the canonical list.
        rank: numerical rank of the bound weight's rows at issue.
        ties: other state-dict names of the same weight.
        calls: how often the norm runs in one forward.
        frozen: the bound weight takes no gradient at present, and so no bits. It is listed all the
            same: the canonical list follows from the host's code and weights, not from a flag.
    """

    target: Target
    rank: int
    ties: tuple[str, ...]
    calls: int
    frozen: bool = False


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
            reasons = _reasons(self.left_out)
            raise PlanError(
                "this host has no normalization layer that can carry a passport"
                + (f" ({reasons})" if reasons else "")
                + "; the marks that need none are a trigger set and a plug-in "
                "(modeldeed.TriggerSet, modeldeed.Plugin)"
            )


def _reasons(entries: Iterable[LeftOut]) -> str:
    """Why norms are left out, each reason once."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        names.setdefault(entry.reason, []).append(entry.norm)
    return "; ".join(
        f"{', '.join(listed[:3])}{f' and {len(listed) - 3} more' if len(listed) > 3 else ''}: {why}"
        for why, listed in names.items()
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
        OptionError: the model is no module, the example holds no tensor, or a name in ``targets``
            or ``exclude`` fits no norm.
        PlanError: the model is a wrapper around the host, its weights are not finite or on no
            device, or its forward failed on the example.
    """
    require_traceable(model, example)
    norms = {name: module for name, module in model.named_modules() if _is_norm(module)}
    chosen = selected(norms, targets, exclude)
    trace, faults = trace_host(model, norms, example)
    planner = _Planner(model, trace, faults)
    for name, module in norms.items():
        planner.add(name, module, chosen=name in chosen)
    return Plan(tuple(planner.planned), tuple(planner.left_out))


def _is_norm(module: nn.Module) -> bool:
    return (
        kind_of(module) is not None
        or tracks_statistics(module)
        or looks_like_norm(module)
        or isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm)  # overrides forward
    )


class _Planner:
    """Decides norm after norm, in canonical order."""

    def __init__(self, model: nn.Module, trace: Trace, faults: Mapping[str, str]) -> None:
        self.planned: list[PlannedNorm] = []
        self.left_out: list[LeftOut] = []
        self._trace, self._faults = trace, faults
        self._parameters = dict(model.named_parameters())
        self._state = model.state_dict(keep_vars=True)
        self._aliases = _aliases(model)
        self._taken: dict[tuple[str, int], str] = {}

    def add(self, name: str, module: nn.Module, *, chosen: bool) -> None:
        kind = kind_of(module)
        label = type(module).__name__ if kind is None else kind.name
        # A private call would change statistics that nobody keeps apart.
        blocking = tracks_statistics(module) and (kind is None or name in self._faults)
        if kind is None or blocking:
            reason = self._faults.get(name) if kind is not None else _unknown(module)
            self.left_out.append(LeftOut(name, label, reason or "", blocking=blocking))
        elif not chosen:
            self.left_out.append(LeftOut(name, label, "excluded", chosen=True))
        elif isinstance(target := self._target(name, module, kind), str):
            self.left_out.append(LeftOut(name, label, target))
        else:
            self._taken[target.weight, target.axis] = name
            self.planned.append(self._entry(target))

    def _target(self, name: str, module: nn.Module, kind: NormKind) -> Target | str:
        """The norm's entry in the canonical list, or why it has none."""
        channels = kind.channels(module)
        if isinstance(channels, str):
            return channels
        if name in self._faults:
            return self._faults[name]
        binding = bind(self._trace, name, channels, self._parameters)
        if isinstance(binding, Refusal):
            return binding.reason
        if reason := self._refused(binding, channels):
            return reason
        affine = f"{name}.weight".lstrip(".")
        scale = self._state.get(affine)
        if scale is None and (
            is_parametrized(module, "weight") or getattr(module, "weight", None) is not None
        ):
            return f"its scale is not stored as {affine}: parametrized, or not in the state"
        left_out = () if scale is None else _zero_channels(scale)
        if len(left_out) == channels:
            return "its scale is zero in every channel at issue (zero-initialized residual)"
        return Target(
            norm=name,
            kind=kind.name,
            channels=channels,
            affine=None if scale is None else affine,
            weight=binding.weight,
            shape=tuple(self._parameters[binding.weight].shape),
            axis=binding.axis,
            side=binding.side,
            left_out=left_out,
        )

    def _refused(self, binding: Binding, channels: int) -> str | None:
        fan = self._parameters[binding.weight].numel() // channels
        if fan < MIN_FAN:
            return (
                f"{binding.weight} has only {fan} weights per channel, fewer than {MIN_FAN}: "
                "bits would cost too much of each filter's freedom"
            )
        if owner := self._taken.get((binding.weight, binding.axis)):
            return f"{binding.weight} already carries the passport of {owner}"
        return None

    def _entry(self, target: Target) -> PlannedNorm:
        weight = self._parameters[target.weight]
        return PlannedNorm(
            target,
            _rank(weight, target.axis),
            tuple(sorted(self._aliases[id(weight)] - {target.weight})),
            len(self._trace.inputs[target.norm]),
            not weight.requires_grad,
        )


def _unknown(module: nn.Module) -> str:
    if tracks_statistics(module):
        return "its class is not registered but keeps statistics; see register_norm"
    if not is_parametrized(module) and getattr(module, "weight", None) is None:
        return "its class is not registered and has no scale of its own; see register_norm"
    return "its class is not registered, nor of a known structure; see register_norm"


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
