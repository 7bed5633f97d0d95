"""What a card says of the machine and the code, found without naming either's place."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

import modeldeed
from benchmarks.cards import Hardware, Versions

__all__ = ["ROOT", "code_digest", "commit", "hardware", "versions"]

ROOT = Path(__file__).resolve().parent.parent

# What running benchmarks itself rewrites does not make the measured code another one.
_GENERATED = (":(exclude)benchmarks/results", ":(exclude)docs")

# Parts of the package that call the core but compute nothing an experiment measures.
_SHELLS = ("cli", "demo", "reporting", "integrations")


def hardware(device: torch.device) -> Hardware:
    """The machine, as far as it explains the numbers."""
    return Hardware(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores(),
        threads=torch.get_num_threads(),
        memory_bytes=_memory(),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    )


def versions() -> Versions:
    """Versions of Python and of the packages behind the numbers."""
    return Versions(
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=np.__version__,
        modeldeed=modeldeed.__version__,
    )


def commit() -> str:
    """The checkout's commit, ``-dirty`` appended where sources differ; ``unknown`` without git."""
    revision = _git("rev-parse", "HEAD")
    if not revision:
        return "unknown"
    changed = _git("status", "--porcelain", "--", ".", *_GENERATED)
    # A status that cannot be had is no clean one.
    return revision if changed == "" else f"{revision}-dirty"


def code_digest() -> str:
    """SHA-256 over the sources that a measurement depends on.

    A cell of an interrupted run is taken up only by the same code: a commit would not notice an
    edited working tree, and every commit would throw hours of work away.
    """
    package = Path(modeldeed.__file__).parent
    hasher = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in _SHELLS:
            hasher.update(f"{name.as_posix()}\0{path.stat().st_size}\0".encode())
            hasher.update(path.read_bytes())
    return hasher.hexdigest()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: the platform's own word has to do
    return platform.processor() or platform.machine()


def _cores() -> int:
    return os.cpu_count() or 1


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
