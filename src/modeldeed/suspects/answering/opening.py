"""Opening whatever can answer: a function, a model, a program, a file, an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from modeldeed.errors import OptionError, SuspectError
from modeldeed.suspects.answering.endpoint import Endpoint
from modeldeed.suspects.answering.endpoint_file import SUFFIXES, load_endpoint
from modeldeed.suspects.answering.http_suspect import HttpSuspect
from modeldeed.suspects.answering.local import CallableSuspect, ModuleSuspect, ProgramSuspect
from modeldeed.suspects.answering.onnx_file import OnnxSuspect
from modeldeed.suspects.answering.preparation import Preparation, Prepare
from modeldeed.suspects.answering.suspect import Suspect
from modeldeed.suspects.shards import INDEX_SUFFIX

__all__ = ["is_answering_path", "open_suspect"]

_ONNX = ".onnx"
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def is_answering_path(path: str | Path) -> bool:
    """Tell by its name whether a file can be asked: an ONNX file or an endpoint's configuration.

    Example:
        >>> [is_answering_path(p) for p in ("m.onnx", "endpoint.yaml", "model.safetensors")]
        [True, True, False]
    """
    name = Path(path).name.lower()
    return name.endswith((_ONNX, *SUFFIXES)) and not name.endswith(INDEX_SUFFIX)


def open_suspect(
    suspect: Suspect | Endpoint | nn.Module | ExportedProgram | Callable[[Any], Any] | str | Path,
    *,
    prepare: Prepare | None = None,
    classes: Sequence[str] | None = None,
    group_size: int = 64,
) -> Suspect:
    """Open a suspect that can be asked.

    Args:
        suspect: a function from inputs to scores ``(N, K)`` or classes; a torch module; a program
            of ``torch.export`` in memory; a path of an ``.onnx`` file or of an endpoint's
            configuration (``.yaml``, ``.yml``, ``.json``); an `Endpoint`; or a `Suspect`, which
            is returned as it is.
        prepare: how canonical samples become the model's input; None for `Preparation()`. An
            endpoint's configuration has its own.
        classes: names of the classes in their order, for an endpoint that answers with names.
        group_size: the most samples in one call of a model in this process.

    Returns:
        The suspect; close it after use.

    Raises:
        OptionError: the kind of suspect, or an option, is none of these.
        SuspectError: a file is missing or malformed, or cannot be asked, like weights alone.
        MissingExtraError: ONNX Runtime, httpx or PyYAML is needed and not installed.

    Example:
        >>> import torch
        >>> suspect = open_suspect(lambda images: images.mean((2, 3)))
        >>> suspect.labels(torch.tensor([[[[3]], [[9]], [[4]]]], dtype=torch.uint8))
        (1,)
    """
    if isinstance(suspect, Suspect):
        if prepare is not None:
            raise OptionError("this suspect is open already; give prepare where it is opened")
        return suspect
    if isinstance(suspect, str | Path | Endpoint):
        return _opened(suspect, prepare, classes, group_size)
    rule = Preparation() if prepare is None else prepare
    if isinstance(suspect, nn.Module):
        return ModuleSuspect(suspect, prepare=rule, group_size=group_size)
    if isinstance(suspect, ExportedProgram):
        return ProgramSuspect(suspect, prepare=rule, group_size=group_size)
    if callable(suspect) and not isinstance(suspect, type):
        return CallableSuspect(suspect, prepare=rule, group_size=group_size)
    raise OptionError(
        f"a suspect is a function, a module, an exported program, or a path of an ONNX file or of "
        f"an endpoint's configuration; got a {type(suspect).__name__}"
    )


def _opened(
    suspect: str | Path | Endpoint,
    prepare: Prepare | None,
    classes: Sequence[str] | None,
    group_size: int,
) -> Suspect:
    if not isinstance(suspect, Endpoint):
        path = Path(suspect)
        if path.name.lower().endswith(_ONNX):
            rule = Preparation() if prepare is None else prepare
            return OnnxSuspect(path, prepare=rule, group_size=group_size)
        if not is_answering_path(path):
            raise _unanswering(path)
    if prepare is not None:
        raise OptionError(
            "an endpoint's preparation stands in its configuration, under preparation; leave out "
            "prepare"
        )
    if isinstance(suspect, Endpoint):
        return HttpSuspect(suspect, classes=classes)
    return HttpSuspect(load_endpoint(path), classes=classes, folder=path.parent)


def _unanswering(path: Path) -> SuspectError:
    name = path.name.lower()
    if name.endswith((".safetensors", INDEX_SUFFIX)):
        return SuspectError(
            f"{path} holds weights alone, which cannot answer; build the model, load them into it "
            "and give the model (model= or --model)"
        )
    if name.endswith(".pt2"):
        return SuspectError(
            f"{path} is an exported program in a file, and torch.export.load unpickles, which "
            "runs whatever code is in it; load it yourself where you trust it and give the "
            "program, or have it exported to ONNX"
        )
    if name.endswith(_PICKLES):
        return SuspectError(
            f"{path} is probably a pickle, which runs code when it is opened, so it is not; have "
            "it exported to ONNX, or give the model itself"
        )
    return SuspectError(
        f"{path} cannot be asked; give an ONNX file (.onnx), an endpoint's configuration "
        "(.yaml, .yml, .json), or a model"
    )
