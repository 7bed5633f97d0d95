"""Peak memory of a piece of work, in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from modeldeed.errors import ModelDeedError

__all__ = ["peak_bytes", "resident_bytes"]


def peak_bytes(work: Callable[..., None], *arguments: Any) -> int:
    """Bytes that a call needs at its peak above what its process had before.

    Args:
        work: a function of a module, called in a fresh process.
        arguments: its arguments; they must survive the way into another process.

    Returns:
        The rise of resident memory; on a GPU, the peak of its allocator.

    Raises:
        ModelDeedError: the process failed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_watched, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        peak: int = receiver.recv()
    except EOFError:
        raise ModelDeedError("the process whose memory was watched ended early") from None
    finally:
        process.join()
    return peak


def _watched(sender: Any, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # start the high-water mark anew
    work(*arguments)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        sender.send(torch.cuda.max_memory_allocated())
    else:
        sender.send(resident_bytes("VmHWM") - before)


def resident_bytes(field: str, process: int | None = None) -> int:
    """A size from the kernel's account of this process or another, for example ``VmRSS``."""
    for line in Path(f"/proc/{process or 'self'}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ModelDeedError(f"this system keeps no account of {field}")
