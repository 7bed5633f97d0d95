"""Every reader of a file that a claimant may hand in, and what reading costs.

As a program it reads the files named on its input, under limits on memory and processor time, so
that a reader without bounds ends this process and no test's.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.deed import Countersignature, Deed, Opening
from modeldeed.deed.files import load_opening
from modeldeed.errors import ModelDeedError
from modeldeed.passport.evidence.files import load_manifest
from modeldeed.plugin.files import load_fusion
from modeldeed.resolving.claim_folder import ClaimFolder
from modeldeed.suspects import open_weights
from modeldeed.timestamping import token_of
from modeldeed.triggers.manifest import load as load_triggers
from modeldeed.trust import Trust

READERS: dict[str, Callable[[Path], Any]] = {
    "deed": Deed.load,
    "opening": load_opening,
    "trust": Trust.load,
    "index": open_weights,
    "weights": open_weights,
    "passport": load_manifest,
    "triggers": load_triggers,
    "fusion": load_fusion,
    "anchor": Anchoring.load,
    "claim deed": lambda path: ClaimFolder(path).deed_file(),
    "claim opening": lambda path: ClaimFolder(path).opening(),
    "claim countersignature": lambda path: ClaimFolder(path).countersignatures(),
    "bytes of a deed": lambda path: Deed.parse(path.read_bytes()),
    "bytes of an opening": lambda path: Opening.from_json(path.read_bytes()),
    "bytes of a token": lambda path: token_of(path.read_bytes()),
    "bytes of a countersignature": lambda path: Countersignature.from_json(path.read_bytes()),
}


@dataclass(frozen=True)
class Cost:
    """What became of a file: why it was refused, processor seconds, and further memory in MiB."""

    path: str
    word: str
    seconds: float
    mebibytes: float


def cost_of(kind: str, path: Path) -> Cost:
    """Read a file that must be refused."""
    level, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        READERS[kind](path)
        word = "accepted"
    except ModelDeedError as error:
        word = f"refused: {str(error)[:200]}"
    except Exception as error:
        word = f"DEFECT {type(error).__name__}: {str(error)[:200]}"
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - level) / 1024
    return Cost(str(path), word, time.process_time() - start, peak)


def main(mebibytes: int, seconds: int) -> None:
    """Read what standard input names, under limits."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    size = pages * resource.getpagesize() + 2**20 * mebibytes
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for kind, path in json.loads(sys.stdin.read()):
        print(json.dumps(asdict(cost_of(kind, Path(path)))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
