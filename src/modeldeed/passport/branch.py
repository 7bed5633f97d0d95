"""The private branch: the host's own weights with passport-made scales, for one call.

The branch is the host run again with another (γ, β) and other batch statistics in every planned
norm. It owns what the host must not: passports, bits, heads, private statistics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.anchor import PassportRule, Target
from modeldeed.errors import HostError
from modeldeed.passport.heads import make_head
from modeldeed.passport.norms import NormKind, RunningStatistics, kind_of, tracks_statistics
from modeldeed.passport.reach import BufferGuard, as_call, preserved_rng, replaced_forwards
from modeldeed.passport.signature import layer_secrets, project

__all__ = ["PrivateBranch", "Readings"]


@dataclass(frozen=True)
class Readings:
    """What is read from a host's present weights.

    Attributes:
        layers: r_γ and r_β of every layer in canonical order, each ``(2, C)``, float32.
    """

    layers: list[Tensor]

    @property
    def gamma(self) -> list[Tensor]:
        """r_γ of every layer, each of shape ``(C,)``: where the signature lies."""
        return [layer[0] for layer in self.layers]


class PrivateBranch:
    """The private branch of a host under one key.

    Args:
        host: the model; held by reference and never changed.
        targets: the canonical target list.
        key: the model key.
        rule: the passport's committed rule.
        calls: how often each planned norm runs in a forward, to notice one that is skipped.

    Raises:
        HostError: the host lacks a norm or weight of the list, or one has another shape.
    """

    def __init__(
        self,
        host: nn.Module,
        targets: Sequence[Target],
        key: bytes,
        rule: PassportRule,
        calls: dict[str, int] | None = None,
    ) -> None:
        self.host = host
        self.targets = tuple(targets)
        self.calls = calls or {target.norm: 1 for target in targets}
        self._norms = [_checked_norm(host, target) for target in self.targets]
        self.secrets = [
            layer_secrets(key, ordinal, target, rule.rows)
            for ordinal, target in enumerate(self.targets)
        ]
        self.heads = nn.ModuleList(
            make_head(rule.head, key, ordinal, target.channels, len(self.targets))
            for ordinal, target in enumerate(self.targets)
        )
        # Norms without a passport keep their scale, but their statistics must not be the host's.
        self.statistics = {
            name: RunningStatistics.like(module)
            for name, module in host.named_modules()
            if tracks_statistics(module)
        }
        named = {target.norm for target in self.targets} | set(self.statistics)
        self._replaced = {
            name: (module, kind)
            for name, module in host.named_modules()
            if name in named and (kind := kind_of(module)) is not None
        }
        apart = [module for module, _ in self._replaced.values()]
        self._other_buffers = BufferGuard(host, apart)
        self._device = torch.device("cpu")

    def readings(self) -> Readings:
        """Read r_γ and r_β of every layer from the host's present weights; differentiable."""
        self._follow_device()
        with torch.autocast(self._device.type, enabled=False):
            return Readings(
                [
                    project(
                        self.host.get_parameter(target.weight).float(),
                        secret.passports,
                        target.axis,
                    )
                    for target, secret in zip(self.targets, self.secrets, strict=True)
                ]
            )

    def scale_signs(self) -> list[Tensor]:
        """cᵢ = sign(γ₀,ᵢ) of every layer, detached, float32; ones without an affine."""
        self._follow_device()
        signs = []
        for norm, secret in zip(self._norms, self.secrets, strict=True):
            scale = getattr(norm, "weight", None)
            ones = torch.ones(len(secret.bits), device=self._device)
            signs.append(ones if scale is None else scale.detach().float().sign())
        return signs

    def signed_bits(self) -> list[Tensor]:
        """bᵢ cᵢ of every layer: what the readings are pushed towards."""
        pairs = zip(self.scale_signs(), self.secrets, strict=True)
        return [sign * secret.bits for sign, secret in pairs]

    def __call__(self, inputs: Any, readings: Readings | None = None) -> Any:
        """Run the private branch.

        Args:
            inputs: what the host takes: a tensor, a tuple or a dict.
            readings: those of the present weights, when the caller has them already.

        Returns:
            What the host returns.

        Raises:
            HostError: a planned norm ran less often than when the passport was issued.

        Note:
            The host's parameters, buffers, hooks, modes and the random state are afterwards what
            they were, also when the forward raises.
        """
        readings = readings or self.readings()
        seen: Counter[str] = Counter()
        args, kwargs = as_call(inputs)
        with (
            preserved_rng(self.host.parameters()),
            self._other_buffers(),
            replaced_forwards(self._forwards(readings, seen)),
        ):
            output = self.host(*args, **kwargs)
        for name, expected in self.calls.items():
            if seen[name] < expected:
                raise HostError(
                    f"{name} ran {seen[name]} times in the private call, {expected} when the "
                    "passport was issued: the host skips it (a fused or compiled path, or layer "
                    "drop); exclude it from the plan or turn that path off"
                )
        return output

    def _forwards(
        self, readings: Readings, seen: Counter[str]
    ) -> dict[nn.Module, Callable[..., Any]]:
        affine = {}
        with torch.autocast(self._device.type, enabled=False):
            for ordinal, (target, sign) in enumerate(
                zip(self.targets, self.scale_signs(), strict=True)
            ):
                gamma, beta = self.heads[ordinal](sign * readings.layers[ordinal])
                affine[target.norm] = sign * gamma, beta
        forwards: dict[nn.Module, Callable[..., Any]] = {}
        for name, (module, kind) in self._replaced.items():
            own = (getattr(module, "weight", None), getattr(module, "bias", None))
            scale, bias = _like(own, affine[name]) if name in affine else own
            forwards[module] = _private_forward(
                module, kind, scale, bias, self.statistics.get(name), name, seen
            )
        return forwards

    def _follow_device(self) -> None:
        """Move the secrets to where the host now is."""
        device = self.host.get_parameter(self.targets[0].weight).device
        if device == self._device:
            return
        self._device = device
        self.heads.to(device)
        self.secrets = [secret.to(device) for secret in self.secrets]
        for statistics in self.statistics.values():
            statistics.to(device)


def _private_forward(
    module: nn.Module,
    kind: NormKind,
    scale: Tensor | None,
    bias: Tensor | None,
    statistics: RunningStatistics | None,
    name: str,
    seen: Counter[str],
) -> Callable[..., Tensor]:
    def forward(x: Tensor) -> Tensor:
        seen[name] += 1
        return kind.apply(module, x, scale, bias, statistics)

    return forward


def _like(
    own: tuple[Tensor | None, Tensor | None], affine: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Cast the private affine to the dtype of the layer's own, if it has one."""
    dtype = affine[0].dtype if own[0] is None else own[0].dtype
    return affine[0].to(dtype), affine[1].to(dtype)


def _checked_norm(host: nn.Module, target: Target) -> nn.Module:
    try:
        norm, weight = host.get_submodule(target.norm), host.get_parameter(target.weight)
    except AttributeError as error:
        raise HostError(
            f"the host has no {target.norm} with {target.weight} ({error}): it is not the model "
            "this passport was issued for, or its modules were renamed"
        ) from error
    if tuple(weight.shape) != target.shape:
        raise HostError(
            f"{target.weight} has shape {tuple(weight.shape)}, {target.shape} when the passport "
            "was issued: the host's architecture differs"
        )
    kind = kind_of(norm)
    if kind is None or kind.name != target.kind or kind.channels(norm) != target.channels:
        raise HostError(
            f"{target.norm} is a {type(norm).__name__}, not a {target.kind} norm of "
            f"{target.channels} channels as when the passport was issued"
        )
    return norm
