"""Triggers that keep their labels when the weights change: their loss under noise on the weights.

In training, triggers run beside some of the task's inputs, so that batch statistics are not those
of triggers alone; in a retrofit they run in eval mode.

Reference:
    A. Bansal et al., "Certified Neural Network Watermarks with Randomized Smoothing", ICML 2022:
    Gaussian noise on all weights while triggers are learned. Here it is relative to each
    tensor's own size, and drawn once in a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from modeldeed.errors import HostError
from modeldeed.passport.host.reach import as_call, evaluating, preserved_rng
from modeldeed.passport.private.losses import Loss
from modeldeed.passport.private.step import batch_size, portion
from modeldeed.triggers.appending import appended

__all__ = ["loss_as_answered", "loss_under_noise"]

Weights = dict[str, Tensor]


def loss_under_noise(
    model: nn.Module,
    beside: Any,
    triggers: Any,
    targets: Any,
    loss: Loss,
    *,
    size: float,
    seed: int,
    batch_dim: int = 0,
) -> Tensor:
    """The loss of some triggers at weights with noise, in the model's present mode.

    Args:
        model: not changed: its weights, buffers and gradients stay as they are.
        beside: inputs of the task, which run along and count in no loss.
        triggers: in the form of ``beside``.
        targets: their labels; None for a model that returns its own loss, which is then that of
            all of them.
        loss: ``(outputs, targets) -> scalar``.
        size: standard deviation of the noise, relative to the root mean square of each tensor.
        seed: of the noise.
        batch_dim: dimension of the inputs' tensors along which samples lie.

    Returns:
        A scalar with a graph to the model's own parameters.

    Raises:
        HostError: the weights are sharded, or none requires gradients.
    """
    weights = _weights(model)
    first = batch_size(beside, batch_dim)
    total = first + batch_size(triggers, batch_dim)
    joined = appended(beside, triggers, batch_dim)
    with preserved_rng(weights.values()):
        outputs = _run(model, _noisy(weights, size, seed), joined)
    wanted = outputs if targets is None else portion(outputs, (first, total), total)
    return loss(wanted, targets)


def loss_as_answered(
    model: nn.Module, triggers: Any, targets: Any, loss: Loss, *, size: float, seed: int
) -> Tensor:
    """The same of triggers alone, in eval mode, in which a judge sees the model.

    A training from scratch diverges with it: running statistics lag behind weights that still
    change fast. A model that is trained already stands it.

    Args:
        model: not changed, neither are its modes.
        triggers: as the model takes them.
        targets: their labels.
        loss: ``(outputs, targets) -> scalar``.
        size: of the noise, as for `loss_under_noise`; 0 for none.
        seed: of the noise.

    Returns:
        A scalar with a graph to the model's own parameters.

    Raises:
        HostError: the weights are sharded, or none requires gradients.
    """
    weights = _weights(model)
    with evaluating(model), preserved_rng(weights.values()):
        return loss(_run(model, _noisy(weights, size, seed), triggers), targets)


def _weights(model: nn.Module) -> Weights:
    weights: Weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not weights or any(hasattr(p, "full_tensor") for p in weights.values()):
        raise HostError(
            "triggers are hardened by changing whole weights that require gradients; this host "
            "has none or holds them in shards"
        )
    return weights


def _run(model: nn.Module, weights: Weights, inputs: Any) -> Any:
    # Copies: the model's own are not to change, and later forwards may change those before the
    # backward.
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    args, kwargs = as_call(inputs)
    return functional_call(model, {**weights, **buffers}, args, kwargs)


def _noisy(weights: Weights, size: float, seed: int) -> Weights:
    if size == 0:
        return weights
    generators: dict[torch.device, torch.Generator] = {}
    moved = {}
    for name, weight in weights.items():
        device = weight.device
        if device not in generators:
            generators[device] = torch.Generator(device).manual_seed(seed)
        own = weight.detach()
        noise = torch.randn(own.shape, generator=generators[device], device=device, dtype=own.dtype)
        moved[name] = weight + noise * (size * own.square().mean().sqrt())
    return moved
