"""Remove channels that do nothing on benign data: silent, without influence, or small."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Activity",
    "activity",
    "remove",
    "remove_inactive",
    "remove_silent",
    "remove_without_effect",
    "remove_without_gradient",
]

Chosen = Mapping[str, Tensor]
"""Of each layer's channels, which shall go: bool ``(C,)``, by the layer's name."""


class Activity:
    """What the channels of one layer do on some inputs.

    Attributes:
        mean: of the values, ``(C,)``.
        deviation: standard deviation of the values, ``(C,)``.
        size: mean of the values after a ReLU, ``(C,)``.
        gradient: mean of |value · its gradient|, ``(C,)``: by how much the loss would change,
            to first order, if the channel were zero.
    """

    def __init__(self, values: Tensor, gradients: Tensor | None) -> None:
        slopes = torch.zeros_like(values) if gradients is None else gradients
        flat, slope = (each.movedim(1, 0).flatten(1).double() for each in (values, slopes))
        self.mean, self.deviation = flat.mean(1), flat.std(1)
        self.size = flat.clamp_min(0).mean(1)
        self.gradient = ((flat - self.mean[:, None]) * slope).abs().mean(1)


def makers(model: nn.Module) -> dict[str, Any]:
    """The layers whose rows are channels and can be silenced: norms, and layers with a bias."""
    norms = nn.modules.batchnorm._BatchNorm
    layers = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return {
        name: module
        for name, module in model.named_modules()
        if (isinstance(module, norms) and module.affine)
        or (isinstance(module, layers) and module.bias is not None)
    }


def activity(model: nn.Module, benign: Tensor) -> dict[str, Activity]:
    """Watch all channels on benign inputs.

    Args:
        model: in evaluation mode; not changed.
        benign: inputs ``(N, *)``.
    """
    values: dict[str, Tensor] = {}
    hooks = []
    for name, module in makers(model).items():

        def keep(_: nn.Module, __: Any, value: Tensor, name: str = name) -> None:
            if value.requires_grad:
                value.retain_grad()
            values[name] = value

        hooks.append(module.register_forward_hook(keep))
    try:
        with torch.enable_grad():
            output = model(benign)
            loss = F.cross_entropy(output, output.detach().argmax(1), reduction="sum")
            loss.backward()  # type: ignore[no-untyped-call]
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad()
    inner = _without_outputs(model, list(values), output.shape[1])
    return {name: Activity(values[name].detach(), values[name].grad) for name in inner}


def _without_outputs(model: nn.Module, names: list[str], classes: int) -> list[str]:
    """All but the layers whose rows are scores: the last linear one, and those of K rows."""
    linear = [name for name in names if isinstance(model.get_submodule(name), nn.Linear)]
    scores = {n for n in linear if model.get_submodule(n).out_features == classes}
    return [name for name in names if name not in scores and name != linear[-1]]


def remove(model: nn.Module, seen: Mapping[str, Activity], chosen: Chosen) -> nn.Module:
    """Put the mean in place of every chosen channel's values.

    Args:
        model: not changed.
        seen: the activity that the means are taken from.
        chosen: which channels.
    """
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for name, which in chosen.items():
            layer: Any = changed.get_submodule(name)
            layer.weight[which] = 0
            layer.bias[which] = seen[name].mean.to(layer.bias)[which]
    return changed


def _lowest(amounts: Mapping[str, Tensor], share: float) -> Chosen:
    """The channels with the lowest amounts, in units of their layer's median."""
    relative = {name: a / a.median().clamp_min(1e-12) for name, a in amounts.items()}
    limit = torch.cat(list(relative.values())).quantile(share)
    return {name: each <= limit for name, each in relative.items()}


def remove_inactive(model: nn.Module, benign: Tensor, share: float) -> nn.Module:
    """Remove a share of all channels: those that are least active behind their ReLU.

    Source:
        K. Liu, B. Dolan-Gavitt, S. Garg, "Fine-Pruning: Defending Against Backdooring Attacks on
        Deep Neural Networks", RAID 2018.
    """
    seen = activity(model, benign)
    return remove(model, seen, _lowest({name: a.size for name, a in seen.items()}, share))


def remove_silent(model: nn.Module, benign: Tensor, tolerance: float = 1e-2) -> nn.Module | None:
    """Remove the channels that hardly vary, in units of their layer's mean; None without any."""
    seen = activity(model, benign)
    chosen = {n: a.deviation <= tolerance * a.deviation.mean() for n, a in seen.items()}
    return remove(model, seen, chosen) if any(map(torch.any, chosen.values())) else None


def remove_without_gradient(
    model: nn.Module, benign: Tensor, tolerance: float = 1e-3
) -> nn.Module | None:
    """Remove the channels that the answers hardly depend on, to first order; None without any.

    In units of their layer's mean: where copies were merged, half of the channels do nothing.
    """
    seen = activity(model, benign)
    chosen = {n: a.gradient <= tolerance * a.gradient.mean() for n, a in seen.items()}
    return remove(model, seen, chosen) if any(map(torch.any, chosen.values())) else None


def remove_without_effect(
    model: nn.Module, benign: Tensor, agreement: float = 0.99, few: int = 32
) -> nn.Module:
    """Silence channel by channel, and remove as many as the answers bear, the weakest first.

    Args:
        model: in evaluation mode; not changed.
        benign: inputs ``(N, *)``.
        agreement: share of their answers that must stay.
        few: so many of them rank the channels, with a forward for each channel.

    Returns:
        A copy without the longest series of channels, in the order of their effect, that leaves
        so many answers as they were.
    """
    with torch.no_grad():
        before, shown = model(benign), model(benign[:few])
        seen = activity(model, benign)
        effects = []
        for name, each in seen.items():
            for channel in range(len(each.mean)):
                which = torch.zeros(len(each.mean), dtype=torch.bool)
                which[channel] = True
                after = _silenced(model, name, each, which, benign[:few])
                effects.append((float((after - shown).abs().mean()), name, channel))
    effects.sort()
    low, high = 0, len(effects)
    while low < high:  # the longest series that leaves the answers
        middle = (low + high + 1) // 2
        changed = remove(model, seen, _series(seen, effects[:middle]))
        with torch.no_grad():
            kept = (changed(benign).argmax(1) == before.argmax(1)).double().mean()
        low, high = (middle, high) if kept >= agreement else (low, middle - 1)
    return remove(model, seen, _series(seen, effects[:low]))


def _silenced(model: nn.Module, name: str, seen: Activity, which: Tensor, benign: Tensor) -> Tensor:
    def constant(_: nn.Module, __: Any, value: Tensor) -> Tensor:
        shape = [1, -1] + [1] * (value.ndim - 2)
        return torch.where(which.view(shape), seen.mean.to(value).view(shape), value)

    hook = model.get_submodule(name).register_forward_hook(constant)
    try:
        result: Tensor = model(benign)
    finally:
        hook.remove()
    return result


def _series(seen: Mapping[str, Activity], effects: list[tuple[float, str, int]]) -> Chosen:
    chosen = {name: torch.zeros(len(a.mean), dtype=torch.bool) for name, a in seen.items()}
    for _, name, channel in effects:
        chosen[name][channel] = True
    return chosen
