"""The private branch: the host's own weights with passport-made scales, for one call.

The branch is the host run again with another (γ, β) and other batch statistics in every planned
norm. It owns what the host must not: passports, bits, heads, private statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.anchor import PassportRule, Target
from modeldeed.errors import HostError
from modeldeed.passport.evidence.coloured import Factors, seen_rows, seen_target
from modeldeed.passport.evidence.signature import layer_secrets
from modeldeed.passport.host.reach import BufferGuard
from modeldeed.passport.norms.registry import RunningStatistics, kind_of, tracks_statistics
from modeldeed.passport.private.arithmetic import read_layers
from modeldeed.passport.private.head_bank import HeadBank
from modeldeed.passport.private.heads import make_head
from modeldeed.passport.private.parallel import require_averaged, whole
from modeldeed.passport.private.private_call import PrivateCall, ReplacedNorm

__all__ = ["PrivateBranch", "Readings"]


@dataclass(frozen=True)
class Readings:
    """What is read from a host's present weights.

    Attributes:
        flat: r_γ and r_β of all layers in canonical order, ``(2, ΣC)``, float32.
        channels: C of each layer.
    """

    flat: Tensor
    channels: tuple[int, ...]

    @property
    def gamma(self) -> Tensor:
        """r_γ of all layers, ``(ΣC,)``: where the signature lies."""
        return self.flat[0]

    @property
    def layers(self) -> tuple[Tensor, ...]:
        """r_γ and r_β of each layer, ``(2, C)``."""
        return torch.split(self.flat, list(self.channels), dim=1)


class PrivateBranch:
    """The private branch of a host under one key.

    Args:
        host: the model; held by reference and never changed.
        targets: the canonical target list.
        key: the model key.
        rule: the passport's committed rule.
        calls: how often each planned norm runs in a forward, to notice one that is skipped.
        codewords: what a message turns in each layer's bits; None without a message.
        factors: of the layers with a coloured reading; None reads all from their weights.

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
        codewords: Sequence[Tensor] | None = None,
        factors: Factors | None = None,
    ) -> None:
        self.host = host
        self.targets = tuple(targets)
        self.calls = calls or {target.norm: 1 for target in targets}
        self._norms = [_checked_norm(host, target) for target in self.targets]
        self.factors = dict(factors or {})
        seen = [seen_target(target, self.factors.get(o)) for o, target in enumerate(self.targets)]
        self.secrets = [
            layer_secrets(
                key, ordinal, target, rule.rows, codewords[ordinal] if codewords else None
            )
            for ordinal, target in enumerate(seen)
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
        self._channels = tuple(target.channels for target in self.targets)
        self._axes = [target.axis for target in seen]
        self._place(torch.device("cpu"))

    def readings(self) -> Readings:
        """Read r_γ and r_β of every layer from the host's present weights; differentiable."""
        self._follow_device()
        with torch.autocast(self._device.type, enabled=False):
            weights = [
                seen_rows(
                    whole(self.host.get_parameter(target.weight)).float(),
                    target,
                    self.factors.get(o),
                )
                for o, target in enumerate(self.targets)
            ]
            return Readings(
                read_layers(
                    weights,
                    [
                        secret.laid_out_like(weight)
                        for secret, weight in zip(self.secrets, weights, strict=True)
                    ],
                    self._axes,
                ),
                self._channels,
            )

    def scale_signs(self) -> Tensor:
        """cᵢ = sign(γ₀,ᵢ) of all layers, ``(ΣC,)`` float32, detached; ones without an affine."""
        self._follow_device()
        with torch.no_grad():
            return torch.cat(
                [
                    ones
                    if (scale := getattr(norm, "weight", None)) is None
                    else whole(scale).float()
                    for norm, ones in zip(self._norms, self._ones, strict=True)
                ]
            ).sign()

    def signed_bits(self) -> Tensor:
        """bᵢ cᵢ of all layers, ``(ΣC,)``: what the readings are pushed towards; 0 for no bit."""
        return self.scale_signs() * self._bits

    def affine(self, readings: Readings) -> list[tuple[Tensor, Tensor]]:
        """The private scale and bias (γ₁, β₁) of every layer, each ``(C,)``, float32."""
        with torch.autocast(self._device.type, enabled=False):
            signs = self.scale_signs()
            gamma, beta = self._bank(signs * readings.flat)
        sizes = list(self._channels)
        return list(zip(torch.split(signs * gamma, sizes), torch.split(beta, sizes), strict=True))

    def call(self, readings: Readings | None = None) -> PrivateCall:
        """Prepare a private call on the present weights.

        Args:
            readings: those of the present weights, when the caller has them already.

        Raises:
            HostError: several processes train learned heads, and nothing averages their gradients.
        """
        if next(self.heads.parameters(), None) is not None:
            require_averaged("the learned heads")
        named = self._named_affine(readings)
        replaced = [
            ReplacedNorm(name, module, kind, named.get(name), self.statistics.get(name))
            for name, (module, kind) in self._replaced.items()
        ]
        return PrivateCall(self.host, replaced, self.calls, self._other_buffers, self._named_affine)

    def _named_affine(self, readings: Readings | None = None) -> dict[str, tuple[Tensor, Tensor]]:
        affine = self.affine(readings or self.readings())
        return {target.norm: pair for target, pair in zip(self.targets, affine, strict=True)}

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
        return self.call(readings)(inputs)

    def _follow_device(self) -> None:
        """Move the secrets to where the host now is."""
        device = self.host.get_parameter(self.targets[0].weight).device
        if device != self._device:
            self._place(device)

    def _place(self, device: torch.device) -> None:
        self._device = device
        self.heads.to(device)
        self.secrets = [secret.to(device) for secret in self.secrets]
        self.factors = {ordinal: x.to(device) for ordinal, x in self.factors.items()}
        for statistics in self.statistics.values():
            statistics.to(device)
        self._bits = torch.cat([secret.bits for secret in self.secrets]).float()
        self._ones = [torch.ones(size, device=device) for size in self._channels]
        self._bank = HeadBank(list(self.heads), self._channels)


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
