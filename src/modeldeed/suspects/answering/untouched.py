"""A module that is as it was, whatever its forward does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["untouched"]


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put back modes, buffers and PyTorch's random numbers afterwards, failure or not.

    Args:
        module: may change modes and buffers, and draw random numbers, within the block.
    """
    modules = list(module.modules())
    modes = [each.training for each in modules]
    buffers = [dict(each._buffers) for each in modules]
    values = {id(b): b.clone() for each in buffers for b in each.values() if b is not None}
    tensors = [*module.parameters(), *module.buffers()]
    devices = sorted({t.device.index or 0 for t in tensors if t.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for each, mode, held in zip(modules, modes, buffers, strict=True):
                    each.training = mode
                    each._buffers.clear()
                    each._buffers.update(held)
                    for buffer in held.values():
                        if buffer is not None and not _same(buffer, values[id(buffer)]):
                            buffer.copy_(values[id(buffer)])


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Bit for bit: NaN is itself, and 0 is not −0. Writing without need would stop a backward."""
    return torch.equal(*(t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other)))
