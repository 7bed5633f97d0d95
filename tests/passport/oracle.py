"""A slow, obvious twin of the private branch, written from the mathematics alone.

The private network is rebuilt explicitly: a copy of the host in which every planned norm is an
`OracleNorm` that normalizes by hand, with readings computed row by row in Python.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from modeldeed.anchor import Target
from modeldeed.passport import Passport
from modeldeed.passport.private.heads import make_head
from modeldeed.streams import KeyStream


def slow_reading(key: bytes, ordinal: int, target: Target, weight: Tensor, role: str) -> Tensor:
    """r of one layer, one row at a time, in float64."""
    stream = KeyStream(key, "passport", ordinal, role)
    signs = stream.signs(target.channels, target.fan)
    values = []
    for channel in range(target.channels):
        row = weight.detach().select(target.axis, channel).reshape(-1).double()
        values.append(float(row @ signs[channel].double()) / max(float(row.norm()), 1e-15))
    return torch.tensor(values, dtype=torch.float64)


def is_rms(norm: nn.Module) -> bool:
    return "RMSNorm" in type(norm).__name__ or type(norm).__name__ == "T5LayerNorm"


def channels_first(norm: nn.Module) -> bool:
    """Whether a layer norm normalizes over dimension 1."""
    named = getattr(norm, "data_format", "") == "channels_first"
    return named or type(norm).__name__ == "LayerNorm2d"


class OracleNorm(nn.Module):
    """Normalization by hand with a given scale and bias."""

    def __init__(
        self, norm: nn.Module, scale: Tensor | None, bias: Tensor | None, statistics: object
    ) -> None:
        super().__init__()
        self.norm, self.scale, self.bias = norm, scale, bias
        self.statistics = statistics
        eps = getattr(norm, "variance_epsilon", 1e-5)  # transformers' name; 1e-5 where it has none
        self.eps = getattr(norm, "eps", eps)
        self.last = is_rms(norm) or (isinstance(norm, nn.LayerNorm) and not channels_first(norm))
        self.register_forward_pre_hook(lambda *_: None)  # no fused path around it

    @property
    def weight(self) -> Tensor:
        return self.norm.weight  # some hosts look up its dtype

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        shape = [1] * (x.dim() - 1) + [-1] if self.last else [1, -1] + [1] * (x.dim() - 2)
        mean, var = self._moments(x)
        eps = self.eps if self.eps is not None else torch.finfo(x.dtype).eps
        y = (x - mean) / (var + eps).sqrt()
        if isinstance(norm, nn.GroupNorm):
            y = y.reshape(x.shape)
        scale = 1.0 if self.scale is None else self.scale.reshape(shape)
        y = y * scale + (0.0 if self.bias is None else self.bias.reshape(shape))
        return norm.act(y) if hasattr(norm, "act") else y  # timm's fused activations

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        norm, kept = self.norm, self.statistics
        if is_rms(norm):
            return torch.zeros(()), x.square().mean(-1, keepdim=True)
        if isinstance(norm, nn.LayerNorm):
            over = -1 if self.last else 1
            return x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
        if isinstance(norm, nn.GroupNorm):
            groups = x.reshape(len(x), norm.num_groups, -1)
            mean = groups.mean(2).repeat_interleave(norm.num_channels // norm.num_groups, 1)
            var = groups.var(2, correction=0)
            var = var.repeat_interleave(norm.num_channels // norm.num_groups, 1)
            shape = (len(x), norm.num_channels, *[1] * (x.dim() - 2))
            return mean.reshape(shape), var.reshape(shape)
        shape = (1, -1, *[1] * (x.dim() - 2))
        if "Frozen" in type(norm).__name__:
            return norm.running_mean.reshape(shape), norm.running_var.reshape(shape)
        if kept is not None and not norm.training:
            return kept.mean.reshape(shape), kept.var.reshape(shape)
        instance = type(norm).__name__.startswith("Instance")
        dims = list(range(2, x.dim())) if instance else [0, *range(2, x.dim())]
        return x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)


def oracle(passport: Passport) -> nn.Module:
    """The private network, rebuilt; its batch statistics are the passport's present ones."""
    twin = copy.deepcopy(passport.host)
    anchor, key = passport.manifest.anchor, passport._key
    for name, statistics in passport.branch.statistics.items():
        module = twin.get_submodule(name)
        _replace(twin, name, OracleNorm(
            module, getattr(module, "weight", None), getattr(module, "bias", None),
            copy.deepcopy(statistics),
        ))  # fmt: skip
    for ordinal, target in enumerate(anchor.targets):
        weight = passport.host.get_parameter(target.weight)
        layers = len(anchor.targets)
        head = make_head(anchor.passport_rule.head, key, ordinal, target.channels, layers)
        r_gamma = slow_reading(key, ordinal, target, weight, "gamma").float()
        r_beta = slow_reading(key, ordinal, target, weight, "beta").float()
        norm = passport.host.get_submodule(target.norm)
        own = getattr(norm, "weight", None)
        sign = torch.ones(target.channels) if own is None else own.detach().sign()
        with torch.no_grad():
            scale, bias = head(torch.stack([sign * r_gamma, sign * r_beta]))
            scale = sign * scale
        kept = copy.deepcopy(passport.branch.statistics.get(target.norm))
        _replace(twin, target.norm, OracleNorm(copy.deepcopy(norm), scale, bias, kept))
    return twin


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of another, wherever the other stands."""
    former = model.get_submodule(name)
    places = [
        (parent, child)
        for parent in model.modules()
        if not isinstance(parent, OracleNorm)
        for child, found in parent._modules.items()
        if found is former
    ]
    for parent, child in places:
        setattr(parent, child, module)
