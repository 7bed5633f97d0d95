"""A passport on disk: a folder with ``passport.json`` and, beside it, one safetensors file.

The state file is named after its digest and written first; replacing ``passport.json`` is the
one step that makes a new version count. A crash at any moment leaves a whole passport.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialize_tensors
from torch import Tensor

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import MAX_BYTES
from modeldeed.owner import Owner
from modeldeed.passport.evidence.coloured import require_factors
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.private.branch import PrivateBranch
from modeldeed.passport.private.step import TrainingRule
from modeldeed.storage import bounded_bytes, write_atomically

__all__ = [
    "MANIFEST",
    "factors_of",
    "load",
    "load_manifest",
    "restore",
    "save",
    "state_of",
    "training_of",
]

MANIFEST = "passport.json"
_MAX_STATE_BYTES = 2**32
_FACTOR = "factor."


def state_of(branch: PrivateBranch, steps: int, training: TrainingRule) -> dict[str, Tensor]:
    """Everything of a private branch that is trained or counted rather than derived."""
    state = {f"head.{name}": p.detach() for name, p in branch.heads.named_parameters()}
    for name, statistics in branch.statistics.items():
        state[f"statistics.{name}.mean"] = statistics.mean
        state[f"statistics.{name}.var"] = statistics.var
        state[f"statistics.{name}.count"] = torch.tensor(statistics.count)
    state.update({f"{_FACTOR}{ordinal}": x for ordinal, x in branch.factors.items()})
    state["steps"] = torch.tensor(steps)
    # Not evidence, so it stands here and not in the signed anchor, which holds no floats.
    state["training"] = torch.tensor(list(json.dumps(asdict(training)).encode()), dtype=torch.uint8)
    return {name: tensor.cpu().contiguous() for name, tensor in state.items()}


def factors_of(manifest: Manifest, state: dict[str, Tensor]) -> dict[int, Tensor] | None:
    """The factors of a coloured reading from a saved state, checked; None when it reads weights.

    Raises:
        EvidenceError: they are missing, or not those that the anchor commits to.
    """
    anchor = manifest.anchor
    if isinstance(anchor.passport_rule.reading, str):
        return None
    named = {n.removeprefix(_FACTOR): t for n, t in state.items() if n.startswith(_FACTOR)}
    # One spelling for each ordinal; Python takes many more for a number.
    known = {str(ordinal) for ordinal in range(len(anchor.targets))}
    if not set(named) <= known:
        raise EvidenceError("the passport was altered: it has factors of layers not in its list")
    factors = {int(ordinal): factor for ordinal, factor in named.items()}
    require_factors(factors, anchor.passport_rule.reading.factors, anchor.targets)
    return factors


def training_of(state: dict[str, Tensor]) -> TrainingRule:
    """The training rule a saved state was trained with.

    Raises:
        KeyError: the state holds none.
        OptionError: a field is out of range.
    """
    return TrainingRule(**json.loads(bytes(state["training"].tolist())))


def restore(branch: PrivateBranch, state: dict[str, Tensor]) -> int:
    """Put a saved state back into a private branch; return the step count.

    Raises:
        KeyError: the state lacks a tensor the branch needs.
        RuntimeError: a tensor has another shape.
    """
    with torch.no_grad():
        for name, parameter in branch.heads.named_parameters():
            parameter.copy_(state[f"head.{name}"])
        for name, statistics in branch.statistics.items():
            statistics.mean.copy_(state[f"statistics.{name}.mean"])
            statistics.var.copy_(state[f"statistics.{name}.var"])
            statistics.count = int(state[f"statistics.{name}.count"])
    return int(state["steps"])


def save(folder: Path, manifest: Manifest, owner: Owner, state: dict[str, Tensor]) -> None:
    """Write a passport; see `Passport.save`."""
    data = serialize_tensors(state)
    digest = hashlib.sha256(data).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _state_name(digest), data)
    write_atomically(folder / MANIFEST, manifest.signed_by(owner, state=digest).to_json())
    for stale in folder.glob("state-*.safetensors"):
        if stale.name != _state_name(digest):
            stale.unlink()


def _state_name(digest: str) -> str:
    return f"state-{digest[:16]}.safetensors"


def load_manifest(folder: Path) -> Manifest:
    """Read and authenticate a passport's manifest.

    Raises:
        OptionError: the folder holds no passport.
        EvidenceError: the manifest is malformed or altered.
    """
    if not (folder / MANIFEST).exists():
        raise OptionError(f"{folder} is no passport's folder: it has no {MANIFEST}")
    manifest = Manifest.from_json(bounded_bytes(folder / MANIFEST, MAX_BYTES))
    manifest.require_authentic()
    return manifest


def load(folder: Path) -> tuple[Manifest, dict[str, Tensor]]:
    """Read a whole passport.

    Raises:
        OptionError: the folder holds no passport.
        EvidenceError: a file is missing, malformed or altered.
    """
    manifest = load_manifest(folder)
    if manifest.state is None:
        raise EvidenceError(f"{folder}: the manifest names no state file; save the passport again")
    path = folder / _state_name(manifest.state)
    data = bounded_bytes(path, _MAX_STATE_BYTES)
    if hashlib.sha256(data).hexdigest() != manifest.state:
        raise EvidenceError(f"{path} was altered: its digest is not the one in the manifest")
    try:
        return manifest, parse_tensors(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        # The library names an unknown dtype by an exception of Python's own.
        raise EvidenceError(f"{path} is no readable safetensors file: {error!r}") from error
