"""A plug-in on disk: ``plugin.json``, ``detector.safetensors`` and ``fusions/NAME.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import MAX_BYTES
from modeldeed.plugin.records import FusionManifest, PluginRecord
from modeldeed.storage import bounded_bytes, write_atomically

__all__ = ["load", "load_fusion", "load_fusions", "only", "require_name", "save"]

RECORD, DETECTOR, FUSIONS = "plugin.json", "detector.safetensors", "fusions"
_MAX_DETECTOR = 64 * 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_T = TypeVar("_T")


def require_name(name: str) -> None:
    """Refuse a fusion's name that is none for a file.

    Raises:
        OptionError: it has other characters than letters, digits, dots, dashes and underscores.
    """
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"a fusion's name is 1 … 100 letters, digits, '.', '-' and '_', got {name!r}"
        )


def save(
    folder: Path,
    record: PluginRecord,
    detector: Mapping[str, Tensor],
    fusions: Mapping[str, FusionManifest],
) -> None:
    """Write signed records and the detector's weights; each file whole or not at all.

    The record is written last: it names the weights' root, so that an older record beside newer
    weights is told when it is read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.items()}
    write_atomically(folder / DETECTOR, save_tensors(tensors))
    for name, manifest in fusions.items():
        (folder / FUSIONS).mkdir(exist_ok=True)
        write_atomically(folder / FUSIONS / f"{name}.json", manifest.to_json())
    write_atomically(folder / RECORD, record.to_json())


def load(folder: Path) -> tuple[PluginRecord, dict[str, Tensor]]:
    """Read and authenticate a plug-in's record and its detector's weights.

    Raises:
        OptionError: the folder holds no plug-in.
        EvidenceError: the record is malformed or altered, or the weights are not those it names.
    """
    if not (folder / RECORD).is_file() or not (folder / DETECTOR).is_file():
        raise OptionError(
            f"{folder} is no folder of a plug-in: it lacks {RECORD} or {DETECTOR}; make one with "
            '"modeldeed plug issue"'
        )
    record = PluginRecord.from_json(bounded_bytes(folder / RECORD, MAX_BYTES))
    record.require_authentic()
    data = bounded_bytes(folder / DETECTOR, _MAX_DETECTOR)
    try:
        state = load_tensors(data)
    except SafetensorError as error:
        raise EvidenceError(f"{folder / DETECTOR} is no safetensors file: {error}") from error
    if record.detector_root is not None and tensor_root(state).hex() != record.detector_root:
        raise EvidenceError(f"{folder / DETECTOR} holds other weights than the record names")
    return record, state


def load_fusions(folder: Path) -> dict[str, FusionManifest]:
    """All fusions of a plug-in by their names; none is no error.

    Raises:
        EvidenceError: one is malformed or altered.
    """
    paths = sorted((folder / FUSIONS).glob("*.json"))
    return {path.stem: _fusion(path) for path in paths}


def load_fusion(path: Path) -> FusionManifest:
    """A fusion from its file, or the only one of a plug-in's folder.

    Raises:
        OptionError: there is none, or several.
        EvidenceError: it is malformed or altered.
    """
    return only(load_fusions(path)) if path.is_dir() else _fusion(path)


def only(fusions: Mapping[str, _T]) -> _T:
    """The one of several that there is.

    Raises:
        OptionError: there is none, or several.
    """
    if len(fusions) == 1:
        return next(iter(fusions.values()))
    if not fusions:
        raise OptionError("this plug-in was fused beside no model yet: fuse it first")
    raise OptionError(
        f"this plug-in was fused beside several models ({', '.join(sorted(fusions))}): instead of "
        f"its folder give the file of one fusion, such as {FUSIONS}/{min(fusions)}.json in it"
    )


def _fusion(path: Path) -> FusionManifest:
    manifest = FusionManifest.from_json(bounded_bytes(path, MAX_BYTES))
    manifest.require_authentic()
    return manifest
