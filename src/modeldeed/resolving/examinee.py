"""A model that is read or asked in a dispute: a suspect, reference, exhibit or null model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torch.export import ExportedProgram

from modeldeed.alignment.onnx_recording import ProbedOnnx
from modeldeed.alignment.probed import Probed
from modeldeed.errors import MissingExtraError, SuspectError
from modeldeed.suspects import Weights, open_weights
from modeldeed.suspects.answering import Endpoint, Suspect, is_answering_path, open_suspect
from modeldeed.suspects.answering.endpoint_file import SUFFIXES
from modeldeed.suspects.answering.preparation import Prepare
from modeldeed.suspects.loading import load_weights
from modeldeed.suspects.onnx_weights import OnnxWeights, is_onnx
from modeldeed.timestamping import Dating

__all__ = ["Examinee", "Kind", "fitting_model"]

Kind = Literal["suspect", "reference", "exhibit", "base", "null"]


@dataclass(frozen=True)
class Examinee:
    """A model under examination.

    Attributes:
        name: how the resolution calls it.
        kind: what it is.
        source: as the caller gave it.
        models: architectures that the judge can build; weights are run in the one they fit.
        dating: when it existed.
    """

    name: str
    kind: Kind
    source: Any
    models: tuple[nn.Module, ...] = ()
    dating: Dating = field(default_factory=Dating)

    @cached_property
    def weights(self) -> Weights | None:
        """Its weights; None if it can only be asked.

        Raises:
            SuspectError: it is a file of weights that cannot be read.
        """
        if not self._runs_itself:
            return None if _only_answers(self.source) else open_weights(self.source)
        try:
            return open_weights(self.source)
        except (SuspectError, MissingExtraError):
            return None  # one that ONNX Runtime reads can still be asked

    @property
    def _runs_itself(self) -> bool:
        """Whether it is an ONNX file: weights that need no model code."""
        return isinstance(self.source, str | Path) and is_onnx(self.source)

    @cached_property
    def label(self) -> str:
        """What it is called by whoever gave it: a file's name, never a path."""
        if isinstance(self.source, str | Path):
            return Path(self.source).name
        if self.weights is not None:
            return self.weights.label
        with closing(open_suspect(self.source)) as suspect:
            return suspect.label

    @cached_property
    def digest(self) -> str:
        """Of its file or files; of what is only asked, of what says which it is, hexadecimal.

        Raises:
            SuspectError: it cannot be read.
        """
        if self.weights is not None:
            return self.weights.digest()
        with closing(open_suspect(self.source)) as suspect:
            return suspect.identity()

    @property
    def can_be_asked(self) -> bool:
        """Whether questions can be put to it."""
        return self._asked_itself or self.runnable is not None

    @property
    def _asked_itself(self) -> bool:
        return self.weights is None or self._runs_itself

    @cached_property
    def probed(self) -> nn.Module | Probed | None:
        """What an aligned reading probes; None where no architecture fits its weights."""
        if isinstance(self.weights, OnnxWeights):
            return ProbedOnnx(self.weights)
        return self.runnable

    def asked(self, prepare: Prepare | None, classes: Sequence[str]) -> Suspect:
        """Open it for questions; close it after use.

        Args:
            prepare: how canonical integers become its input, where it runs in this process.
            classes: names of the classes, for an endpoint that answers with names.

        Raises:
            SuspectError: it is weights, and no architecture that the judge gave fits them.
        """
        source = self.source if self._asked_itself else self.runnable
        if source is None:
            raise SuspectError(
                f"{self.name} is weights: asking it needs model code that fits them (--model)"
            )
        chosen = None if _has_own_preparation(source) else prepare
        return open_suspect(source, prepare=chosen, classes=tuple(classes) or None)

    @cached_property
    def runnable(self) -> nn.Module | None:
        """A module with its weights; None where no architecture that the judge gave fits them.

        Of an ONNX file, too, which runs by itself.
        """
        if isinstance(self.source, nn.Module):
            return self.source
        if self.weights is None or self._runs_itself:
            return None
        return fitting_model(self.weights, self.models)


def fitting_model(weights: Weights, models: Sequence[nn.Module]) -> nn.Module | None:
    """A copy of the architecture that weights fit, with the weights in it; None if none does.

    Of several the one that uses most of the tensors, then the first.
    """
    for model in sorted(models, key=lambda each: -len(each.state_dict())):
        chosen = copy.deepcopy(model)
        try:
            load_weights(chosen, weights)
        except SuspectError:
            continue
        return chosen.eval()
    return None


def _only_answers(source: Any) -> bool:
    if isinstance(source, str | Path):
        return is_answering_path(source)
    if isinstance(source, nn.Module):
        return False
    return isinstance(source, Suspect | Endpoint | ExportedProgram) or callable(source)


def _has_own_preparation(source: Any) -> bool:
    if isinstance(source, str | Path):
        return Path(source).name.lower().endswith(SUFFIXES)
    return isinstance(source, Suspect | Endpoint)
