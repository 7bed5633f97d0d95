"""What a retrofit changes for a while, and puts back: modes, learning rates, the whole model."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from modeldeed.passport.norms.registry import tracks_statistics

if TYPE_CHECKING:
    from modeldeed.passport.passport import Passport

__all__ = ["adapting", "cycle", "restored_on_failure", "training", "undone_on_failure"]

_WARM_UP = 0.1


@contextmanager
def adapting(host: nn.Module) -> Iterator[None]:
    """Let layers with running statistics, and no others, be in train mode."""
    norms = [module for module in host.modules() if tracks_statistics(module)]
    modes = [norm.training for norm in norms]
    for norm in norms:
        norm.training = True
    try:
        yield
    finally:
        for norm, mode in zip(norms, modes, strict=True):
            norm.training = mode


@contextmanager
def training(host: nn.Module, freeze_statistics: bool) -> Iterator[None]:
    """Train mode, the norms' statistics frozen or not; every module's own mode afterwards."""
    modes = [(module, module.training) for module in host.modules()]
    host.train()
    for module in host.modules():
        if freeze_statistics and tracks_statistics(module):
            module.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter in host.parameters():
            parameter.grad = None


@contextmanager
def restored_on_failure(model: nn.Module) -> Iterator[None]:
    """Leave a model as it was if the block fails: its parameters and all its buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, before in zip(tensors, kept, strict=True):
                tensor.copy_(before)
        raise


@contextmanager
def undone_on_failure(passport: Passport) -> Iterator[None]:
    """Leave a model that is marked whole or not at all, whatever stops the retrofit."""
    branch = passport.branch
    kept = copy.deepcopy(branch.statistics)
    heads = copy.deepcopy(branch.heads.state_dict())
    with restored_on_failure(passport.host):
        try:
            yield
        except BaseException:
            branch.heads.load_state_dict(heads)
            for name, statistics in kept.items():
                vars(branch.statistics[name]).update(vars(statistics))
            raise


@contextmanager
def cycle(
    optimizer: torch.optim.Optimizer, steps: int
) -> Iterator[torch.optim.lr_scheduler.LambdaLR]:
    """Let the learning rates rise to their present values and fall to 0; then put them back."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    rise = max(1, round(_WARM_UP * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    try:
        yield torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    finally:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak
            group.pop("initial_lr", None)
