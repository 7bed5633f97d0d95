"""The normalization layers that can carry a passport, by kind.

A kind tells how many channels a layer has and how to run it with another scale and bias. Classes
are registered by `register_norm`; layers of other libraries, which are not imported for it, are
recognized by their structure (`recognize`) and proved on the host's own activations when a plan
is made. The kinds themselves stand in `modeldeed.passport.norms`.

Shape:
    Input and output of every layer: as documented by PyTorch for that layer; scale and bias have
    shape ``(C,)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.errors import OptionError

__all__ = [
    "NormKind",
    "RunningStatistics",
    "is_frozen",
    "kind_of",
    "recognize",
    "register_norm",
    "tracks_statistics",
]


@dataclass
class RunningStatistics:
    """Batch statistics of the private branch, kept apart from the host's.

    Attributes:
        mean: running mean, shape ``(C,)``.
        var: running variance, shape ``(C,)``.
        count: batches seen.
        momentum: weight of the newest batch; None averages all batches alike.
    """

    mean: Tensor
    var: Tensor
    count: int
    momentum: float | None

    @classmethod
    def like(cls, norm: nn.Module) -> RunningStatistics:
        """Statistics for a layer that tracks them, starting from the layer's own.

        On a fresh layer these are mean 0 and variance 1. On a trained one they are the best
        there is before the first private batch, and the only ones if the layer stays in eval mode.
        """
        momentum: Any = getattr(norm, "momentum", None)
        mean, var = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        return cls(mean.detach().clone(), var.detach().clone(), 0, momentum)

    def to(self, device: torch.device) -> None:
        """Move in place to a device."""
        self.mean, self.var = self.mean.to(device), self.var.to(device)

    def next_weight(self) -> float:
        """Count one more batch and return the weight it gets."""
        if self.momentum is not None and torch.compiler.is_compiling():
            # A compiler would compile again for every count; the private call counts instead.
            return self.momentum
        self.count += 1
        return 1.0 / self.count if self.momentum is None else self.momentum


Apply = Callable[[Any, Tensor, Tensor | None, Tensor | None, RunningStatistics | None], Tensor]


@dataclass(frozen=True)
class NormKind:
    """One kind of normalization layer.

    Attributes:
        name: how plans and anchors call it.
        module: the class it is registered for, or whose structure was recognized.
        channels: C of a layer, or the reason (a string) why this configuration cannot carry one.
        apply: ``(layer, x, scale, bias, statistics) -> y``; statistics is None for layers that
            keep none.
        recognized: by structure, not registered; holds only where the host's activations prove it.
    """

    name: str
    module: type[nn.Module]
    channels: Callable[[Any], int | str]
    apply: Apply
    recognized: bool = False


_KINDS: dict[type[nn.Module], NormKind] = {}
_RECOGNIZERS: list[Callable[[nn.Module], NormKind | None]] = []


def register_norm(
    name: str, module: type[nn.Module], *, channels: Callable[[Any], int | str]
) -> Callable[[Apply], Apply]:
    """Register a normalization layer class; decorates its ``apply`` function.

    Args:
        name: the kind's name; several classes may share one.
        module: the layer class. Subclasses inherit the registration unless they override
            ``forward``: a subclass that, say, adds an activation must be registered itself.
        channels: returns C, or a string that says why a configuration cannot carry a passport.

    Returns:
        The decorator.

    Raises:
        OptionError: the class is registered already.

    Example:
        >>> import torch.nn.functional as F
        >>> class Scale(nn.LayerNorm):
        ...     def forward(self, x):
        ...         return super().forward(2 * x)
        >>> @register_norm("doubled", Scale, channels=lambda norm: norm.normalized_shape[-1])
        ... def apply(norm, x, scale, bias, statistics):
        ...     return F.layer_norm(2 * x, norm.normalized_shape, scale, bias, norm.eps)
        >>> kind_of(Scale(4)).name
        'doubled'
    """
    if module in _KINDS:
        raise OptionError(f"{module.__qualname__} is registered as {_KINDS[module].name!r} already")

    def decorate(apply: Apply) -> Apply:
        _KINDS[module] = NormKind(name, module, channels, apply)
        return apply

    return decorate


def recognize(
    recognizer: Callable[[nn.Module], NormKind | None],
) -> Callable[[nn.Module], NormKind | None]:
    """Add a function that may know the kind of a layer whose class is not registered."""
    _RECOGNIZERS.append(recognizer)
    return recognizer


def kind_of(module: nn.Module) -> NormKind | None:
    """The kind of a layer, registered or recognized, or None.

    A subclass that overrides ``forward`` is not what its parent was, so the walk up the classes
    stops there.
    """
    for cls in type(module).__mro__:
        if cls in _KINDS:
            return _KINDS[cls]
        if "forward" in vars(cls):
            break
    found = (recognizer(module) for recognizer in _RECOGNIZERS)
    return next((kind for kind in found if kind is not None), None)


def is_frozen(module: nn.Module) -> bool:
    """Tell whether a layer's statistics are constants, as in a FrozenBatchNorm2d."""
    return "frozen" in type(module).__name__.lower()


def tracks_statistics(module: nn.Module) -> bool:
    """Tell whether a layer keeps running statistics that training updates."""
    return isinstance(getattr(module, "running_mean", None), Tensor) and not is_frozen(module)
