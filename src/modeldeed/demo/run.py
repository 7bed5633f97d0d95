"""The demo from beginning to end."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialize_tensors
from torch import Tensor

from modeldeed._version import __version__
from modeldeed.data import digits
from modeldeed.demo.claims import Shipped, after_changes, claim, loaded, wrong_keys
from modeldeed.demo.leaks import private_bytes
from modeldeed.demo.pair import Pair, fresh_model, time_ratio, train_pair
from modeldeed.demo.result import DemoResult, DemoSize, Versions
from modeldeed.owner import Owner
from modeldeed.storage import write_atomically
from modeldeed.streams import derive

__all__ = ["DEPLOYED", "OWNER_KEY", "PASSPHRASE_FILE", "PASSPORT", "run_demo"]

DEPLOYED = "model.safetensors"
PASSPORT = "passport"
# Two owners to try the command line with. Their secrets follow from the seed, so the passphrase
# that their files are encrypted with protects nothing and may stand beside them.
OWNER_KEY, OTHER_KEY = "owner.key", "another-owner.key"
PASSPHRASE_FILE, PASSPHRASE = "passphrase.txt", "only for the demo"

Progress = Callable[[str], None]


def run_demo(
    out: Path | None = None,
    *,
    seed: int = 0,
    size: DemoSize | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Mark a small model, ship it, verify it, and try to spoil the proof.

    Args:
        out: a folder for the shipped weights, the passport and the owners' keys; made when
            missing. None keeps nothing.
        seed: of weights, order of samples and keys, at least 0.
        size: how much to do; None for about a minute's worth.
        progress: told in one line what is being done.

    Returns:
        What was measured.

    Raises:
        MissingExtraError: scikit-learn, which brings the images, is not installed.
        OSError: the folder cannot be written.

    Note:
        The owners' keys follow from the seed, so the demo repeats; they are no secret. Accuracies
        repeat on one machine and version of PyTorch; seconds do not.
    """
    tell = progress or (lambda _: None)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="modeldeed-demo-") as folder:
            return _run(Path(folder), seed, size or DemoSize(), tell)
    out.mkdir(parents=True, exist_ok=True)
    return _run(out, seed, size or DemoSize(), tell)


def _run(out: Path, seed: int, size: DemoSize, tell: Progress) -> DemoResult:
    start = time.perf_counter()
    dataset = digits().normalized()
    owner, other = _owner(seed, "owner"), _owner(seed, "another owner")
    pair = train_pair(dataset, owner, epochs=size.epochs, seed=seed, progress=tell)
    tell("shipping the marked model as ordinary weights")
    shipped = _ship(pair, out)
    _write_keys({OWNER_KEY: owner, OTHER_KEY: other}, out)
    state = parse_tensors(shipped)
    case = Shipped(out / DEPLOYED, out / PASSPORT, state, dataset, seed, size, tell)
    fields: dict[str, Any] = {
        **_deployment(pair, shipped, case),
        **claim(case, owner, other),
        **wrong_keys(case, pair.passport),
        **after_changes(case, pair, owner),
    }
    last = pair.history[-1]
    return DemoResult(
        seed=seed,
        dataset=dataset.name,
        train_images=len(dataset.y_train),
        test_images=len(dataset.y_test),
        epochs=size.epochs,
        plain_accuracy=last.plain,
        public_accuracy=last.public,
        private_accuracy=last.private,
        training_time_ratio=time_ratio(pair.history),
        history=pair.history,
        seconds=time.perf_counter() - start,
        versions=Versions(
            modeldeed=__version__, torch=torch.__version__, python=platform.python_version()
        ),
        **fields,
    )


def _owner(seed: int, role: str) -> Owner:
    return Owner(derive(bytes(32), "demo", role, seed), f"Demo: {role}")


def _ship(pair: Pair, out: Path) -> bytes:
    """Write what is deployed, and beside it what the owner keeps."""
    state = {name: t.detach().contiguous() for name, t in pair.marked.state_dict().items()}
    deployed = serialize_tensors(state)
    write_atomically(out / DEPLOYED, deployed)
    pair.passport.save(out / PASSPORT)
    return deployed


def _write_keys(owners: dict[str, Owner], out: Path) -> None:
    """Write the demo's owners, in place of those of an earlier run."""
    write_atomically(out / PASSPHRASE_FILE, f"{PASSPHRASE}\n".encode())
    for name, owner in owners.items():
        (out / name).unlink(missing_ok=True)  # a secret file is never overwritten
        owner.save(out / name, PASSPHRASE)


def _deployment(pair: Pair, deployed: bytes, case: Shipped) -> dict[str, Any]:
    """Compare the shipped file with the plain architecture, and look for secrets in it."""
    plain = fresh_model(case.dataset, 0).state_dict()
    model, x = loaded(case.state, case.dataset), case.dataset.x_test
    with torch.no_grad():
        same = torch.equal(model(x), pair.marked(x))
    return {
        "deployed_keys_identical": _layout(case.state) == _layout(plain),
        "deployed_outputs_identical": same,
        "deployed_bytes": len(deployed),
        "private_bytes_in_deployed": private_bytes(deployed, plain, pair.passport),
    }


def _layout(state: dict[str, Tensor]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    return {name: (tuple(t.shape), t.dtype) for name, t in state.items()}
