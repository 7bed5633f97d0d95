"""Fuzz the readers with atheris: ``python -m tests.fuzz [--seconds 300] [target ...]``.

The time is divided among the targets, each in a process of its own. What is found goes to
``build/fuzz``: inputs that cover something new, which later runs begin with, and crashes.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

FOUND, CORPUS = Path("build/fuzz"), Path(__file__).parent / "corpus"
_MOST_BYTES, _MOST_MEBIBYTES, _SLOWEST = 1 << 16, 4096, 10


def main() -> int:
    """Run all targets, or those named; 0 if nothing was found."""
    known = sorted(path.name for path in CORPUS.iterdir())
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(known)}; all, if none is named")
    parser.add_argument("--seconds", type=int, default=300, help="for all targets together")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    names = chosen.targets or known
    if not set(names) <= set(known):
        parser.error(f"the targets are {', '.join(known)}")
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris (Python 3.11 … 3.13, Linux)")  # noqa: T201
        return 2
    if chosen.one:
        _run(names[0], chosen.seconds)
    faulty = []
    for name in names:
        for folder in (FOUND / name, FOUND / "crashes"):
            folder.mkdir(parents=True, exist_ok=True)
        seconds = max(1, chosen.seconds // len(names))
        own = [sys.executable, "-m", "tests.fuzz", name, "--one", f"--seconds={seconds}"]
        print(f"{name}: {seconds} s", flush=True)  # noqa: T201
        if subprocess.run(own, check=False).returncode:
            faulty.append(name)
    word = f"defects in {', '.join(faulty)}: see {FOUND / 'crashes'}" if faulty else "no defects"
    print(word)  # noqa: T201
    return 1 if faulty else 0


def _run(name: str, seconds: int) -> None:
    """Fuzz one target in this process, and end it."""
    import atheris

    # Only this package is instrumented: all of torch would take minutes. So it is imported here.
    with atheris.instrument_imports(include=["modeldeed"], enable_loader_override=False):
        import tests.fuzz.targets as module
    target = module.TARGETS[name]
    arguments = [
        f"-max_total_time={seconds}", f"-max_len={_MOST_BYTES}", f"-timeout={_SLOWEST}",
        f"-rss_limit_mb={_MOST_MEBIBYTES}", f"-artifact_prefix={FOUND / 'crashes'}/{name}-",
        "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    folders = [str(FOUND / name), str(CORPUS / name)]
    atheris.Setup([sys.argv[0], *arguments, *folders], target)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
