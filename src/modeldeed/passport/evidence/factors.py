"""Measuring the factors of a coloured reading: what the layers of a host are given.

Any inputs will do for the null, since the anchor commits to what was measured. For robustness the
factors should show where the inputs of the *finished* model vary: issue the passport on a model
that has begun to learn, and on inputs like those it will see.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.anchor import Target
from modeldeed.errors import OptionError, PlanError
from modeldeed.passport.evidence.coloured import fits
from modeldeed.passport.host.reach import as_call, evaluating, preserved_rng
from modeldeed.streams import KeyStream

__all__ = ["chosen_factors", "factors_of", "published_probes"]

logger = logging.getLogger(__name__)

SAMPLES = 512
PROBES = 128
_PUBLIC = bytes(32)


def chosen_factors(
    host: nn.Module, targets: Sequence[Target], reading: str, example: Any, probes: Any
) -> dict[int, Tensor] | None:
    """The factors that the options of `Passport.issue` ask for; None to read weights.

    Raises:
        OptionError: the reading is unknown, or the probes do not fit it.
        PlanError: no layer of the host can be read coloured.
    """
    if reading not in ("weights", "coloured"):
        raise OptionError(f"reading is 'weights' or 'coloured', got {reading!r}")
    if reading == "weights":
        if probes is not None:
            raise OptionError("probes are for reading='coloured'; leave them out")
        return None
    factors = factors_of(host, targets, published_probes(example) if probes is None else probes)
    if not factors:
        raise PlanError(
            "no layer of this host can be read coloured (its norms are bound to columns, or to "
            "layers other than convolutions and linear ones); take reading='weights'"
        )
    return factors


def published_probes(example: Tensor, count: int = PROBES) -> Tensor:
    """Inputs that anybody can make: smooth random images with some noise, or plain noise.

    Args:
        example: a batch of the host's input, shape ``(N, *)``, floating point; its mean and
            deviation are taken over.
        count: how many.

    Returns:
        Shape ``(count, *)``, on the example's device.

    Raises:
        OptionError: the input is not one floating-point tensor.
    """
    if not isinstance(example, Tensor) or not example.is_floating_point() or example.dim() < 2:
        raise OptionError(
            "a coloured reading needs some inputs of the host; this host's are no single "
            "floating-point tensor, so give them: Passport.issue(..., probes=batch)"
        )
    shape = tuple(example.shape[1:])
    stream = KeyStream(_PUBLIC, "probes", *shape)
    values = stream.uniform(count, *shape)
    if len(shape) == 3 and min(shape[1:]) >= 2:
        values = 0.2 * values
        for cells in (2, 4, 8):
            grid = stream.uniform(count, shape[0], min(cells, shape[1]), min(cells, shape[2]))
            values = values + F.interpolate(grid, size=shape[1:], mode="bilinear")
    deviation = example.float().std() if example.numel() > 1 else torch.ones(())
    values = values / values.std() * deviation.cpu() + example.float().mean().cpu()
    return values.to(example)


def factors_of(
    host: nn.Module, targets: Sequence[Target], inputs: Any, *, samples: int = SAMPLES
) -> dict[int, Tensor]:
    """Measure the factors of a host's layers.

    Args:
        host: run once in eval mode, and left as it was.
        targets: the canonical list.
        inputs: what the host takes; some hundred samples are enough.
        samples: n, drawn from all positions of all samples by a published rule.

    Returns:
        The factors, on the CPU, rounded to 8 bits; a layer that cannot have one is left out and
        named in the log.
    """
    places = [target.weight for target in targets]
    modules = {
        ordinal: module
        for ordinal, target in enumerate(targets)
        if places.count(target.weight) == 1 and (module := _owner(host, target)) is not None
    }
    met: dict[int, Tensor] = {}

    def watch(ordinal: int, module: nn.Module, x: Tensor) -> None:
        if ordinal not in met:
            met[ordinal] = _sampled(module, x.detach(), ordinal, samples)

    hooks = [
        module.register_forward_pre_hook(
            lambda module, args, ordinal=ordinal: watch(ordinal, module, args[0])
        )
        for ordinal, module in modules.items()
    ]
    args, kwargs = as_call(inputs)
    try:
        with torch.no_grad(), evaluating(host), preserved_rng(host.parameters()):
            host(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    factors = {ordinal: _rounded(x) for ordinal, x in sorted(met.items())}
    plain = [target.norm for o, target in enumerate(targets) if not fits(factors.get(o), target)]
    if plain:
        logger.warning(
            "read from their weights, for want of a coloured reading: %s", ", ".join(plain)
        )
    return {o: factor for o, factor in factors.items() if fits(factor, targets[o])}


def _owner(host: nn.Module, target: Target) -> nn.Module | None:
    """The module that multiplies its inputs with a target's weight; None when not known."""
    # The parts of a parametrized weight belong to a module inside of the layer.
    name = target.weight.split(".parametrizations.")[0]
    module = host.get_submodule(name if name != target.weight else name.rpartition(".")[0])
    known = isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    # transformers' linear layer with its weight transposed; the library need not be there.
    known = known or (type(module).__name__ == "Conv1D" and target.axis == 1)
    return module if known and target.side == "rows" else None


def _sampled(module: nn.Module, x: Tensor, ordinal: int, samples: int) -> Tensor:
    """Some of the centered vectors a layer's rows are multiplied with, ``(G, n, D)``, float32."""
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        vectors = x.reshape(1, -1, x.shape[-1])
        vectors = vectors[:, _chosen(vectors.shape[1], ordinal, samples, x.device)]
    else:
        vectors = _patches(module, x, ordinal, samples)
    vectors = vectors.float()
    return vectors - vectors.mean(1, keepdim=True)


def _patches(
    module: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor, ordinal: int, samples: int
) -> Tensor:
    """The patches under some output positions of a convolution, ``(G, n, D)``."""
    spatial = len(module.kernel_size)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    for axis, (size, step, hole) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True)
    ):
        padded = padded.unfold(2 + axis, (size - 1) * hole + 1, step)
        padded = padded[..., ::hole]
    # (N, channels, positions..., kernel...): only the chosen positions are ever copied.
    sizes = [padded.shape[0], *padded.shape[2 : 2 + spatial]]
    total = math.prod(sizes)
    index = torch.unravel_index(_chosen(total, ordinal, samples, x.device), sizes)
    chosen = padded.movedim(1, 1 + spatial)[index]
    return chosen.reshape(len(chosen), module.groups, -1).movedim(1, 0)


def _chosen(total: int, ordinal: int, samples: int, device: torch.device) -> Tensor:
    if total <= samples:
        return torch.arange(total, device=device)
    return KeyStream(_PUBLIC, "positions", ordinal).integers(total, samples).to(device)


def _rounded(vectors: Tensor) -> Tensor:
    largest = vectors.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    return (vectors * (127 / largest)).round().to(torch.int8).cpu()
