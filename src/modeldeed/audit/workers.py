"""Cells on several processes, each with its share of the threads.

Processes are started anew (spawned), since a fork of a process that runs PyTorch's threads can
hang. Each writes the cells that it computes; if this process is killed, they end as well.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from modeldeed.audit.grid import Entry
from modeldeed.audit.measuring import Job, compute
from modeldeed.audit.records import Cell, LeftOut
from modeldeed.errors import HostError, OptionError

__all__ = ["computed"]

_HERE: list[Job] = []
"""The job of a process that was started for one audit."""


def computed(job: Job, entries: Sequence[Entry], processes: int) -> Iterator[Cell | LeftOut]:
    """Compute cells, in whatever order they are done.

    Args:
        job: what they have in common.
        entries: the cells.
        processes: 1 computes here.

    Raises:
        OptionError: model, data or examiners cannot be sent to another process.
        HostError: a process was ended from outside, for example for want of memory.
    """
    if processes == 1 or len(entries) < 2:
        for entry in entries:
            yield compute(job, entry)
        return
    threads = max(1, torch.get_num_threads() // processes)
    pool = ProcessPoolExecutor(
        min(processes, len(entries)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(job, threads, torch.get_default_dtype()),
    )
    try:
        for future in as_completed(_submitted(pool, entries)):
            yield _result(future)
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, entries: Sequence[Entry]) -> list[Future[Any]]:
    try:
        return [pool.submit(_one, entry) for entry in entries]
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise OptionError(
            "the model, its data or an examiner cannot be sent to another process: define their "
            f"classes and functions in a module that can be imported, or use processes=1 ({error})"
        ) from error


def _result(future: Future[Any]) -> Cell | LeftOut:
    try:
        found: Cell | LeftOut = future.result()
    except BrokenProcessPool as error:
        raise HostError(
            "a process of the audit ended before its time; cells that were done are kept. Start "
            "it again, with fewer processes if memory ran out. In a script, call audit() under "
            "if __name__ == '__main__':"
        ) from error
    return found


def _begin(job: Job, threads: int, dtype: torch.dtype) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    _HERE[:] = [job]


def _end_with_parent() -> None:
    """Nobody reads what is computed once the process that asked for it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(entry: Entry) -> Cell | LeftOut:
    return compute(_HERE[0], entry)
