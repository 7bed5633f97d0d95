"""How the commands that attack name models and data, and load them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from torch import nn

from modeldeed.cli.options import built_model
from modeldeed.suspects import open_weights
from modeldeed.suspects.loading import load_weights

if TYPE_CHECKING:
    from modeldeed.attacks import AttackData
    from modeldeed.data import Dataset

__all__ = [
    "PIPE_WIDTH",
    "Attacked",
    "DataRoot",
    "Normalize",
    "OtherData",
    "OtherModel",
    "OtherWeights",
    "Samples",
]

PIPE_WIDTH = 160
"""Columns of a table that goes into a pipe: as any result, in its full width."""

DataRoot = Annotated[
    Path | None, typer.Option(envvar="MODELDEED_DATA", help="Folder of the data sets.")
]
Samples = Annotated[
    int | None,
    typer.Option(min=2, help="Attack with so many training samples, as many of each class."),
]
Normalize = Annotated[bool, typer.Option(help="Standardize the data as the model expects it.")]
OtherData = Annotated[
    str | None, typer.Option(help="Data of another task, for attacks that need them.")
]
OtherModel = Annotated[
    str | None, typer.Option(help="module:function of another architecture, likewise.")
]
OtherWeights = Annotated[
    Path | None, typer.Option(help="Weights of another model of the architecture, likewise.")
]


class Attacked:
    """What is attacked, and with what.

    Args:
        model: ``module:function`` that makes the architecture.
        root: folder of the data sets.
        samples: of the training part; None takes all.
        normalize: whether the model expects standardized data.
    """

    def __init__(self, model: str, root: Path | None, samples: int | None, normalize: bool) -> None:
        self._model, self._root = model, root
        self._samples, self._normalize = samples, normalize

    def loaded(self, weights: Path) -> nn.Module:
        """A model of the architecture with weights of a file, in evaluation mode.

        Raises:
            OptionError: the architecture cannot be made.
            SuspectError: the weights cannot be read, or do not fit it.
        """
        model = built_model(self._model, "--model")
        load_weights(model, open_weights(weights))
        return model.eval()

    def held(
        self, data: str, other_data: str | None, other_model: str | None, weights: Path | None
    ) -> AttackData:
        """Everything that attacks have.

        Args:
            data: of the model's task.
            other_data: of another; None for none.
            other_model: ``module:function`` of another architecture; None for none.
            weights: of another model of the architecture; None for none.

        Raises:
            DataError: data are missing or malformed.
            OptionError: as of `loaded`.
            SuspectError: as of `loaded`.
        """
        from modeldeed.attacks import AttackData  # noqa: PLC0415 - training code

        return AttackData(
            self._dataset(data),
            other_data=None if other_data is None else self._dataset(other_data),
            other_model=None if weights is None else self.loaded(weights),
            other_architecture=None if other_model is None else _Architecture(other_model),
        )

    def _dataset(self, name: str) -> Dataset:
        from modeldeed.data import load  # noqa: PLC0415 - only these commands need data readers

        dataset = load(name, self._root).subset(self._samples)
        return dataset.normalized() if self._normalize else dataset


class _Architecture:
    """Makes a network by its name, in other processes as well."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.__module__, self.__qualname__ = reference.partition(":")[::2]

    def __call__(self) -> nn.Module:
        return built_model(self.reference, "--other-model")
