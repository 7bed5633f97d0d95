"""A model whose inputs are changed before it sees them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.registry import Attack, AttackData, Need
from modeldeed.data import Dataset
from modeldeed.errors import OptionError

__all__ = ["InputAttack", "InputChange", "Preprocessed", "require_kind"]

_KINDS = {4: "pictures", 3: "points", 2: "sound"}


class InputChange(nn.Module):
    """A change of inputs in [0, 1]; a model's own inputs are brought there and back.

    Pictures have the standardization of their data undone, other inputs are scaled by the range of
    the training part.

    Args:
        dataset: the model's inputs are like these.
    """

    offset: Tensor
    width: Tensor

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        x = dataset.x_train
        if x.dim() == 4:
            count = x.shape[1]
            offset = torch.tensor(dataset.mean or (0.0,) * count)[:, None, None]
            width = torch.tensor(dataset.std or (1.0,) * count)[:, None, None]
            offset, width = -offset / width, 1 / width
        else:
            low, high = torch.aminmax(x)
            offset, width = low, (high - low).clamp_min(1e-12)
        # Constants of the data: they move with the module and are no part of a checkpoint.
        self.register_buffer("offset", offset.to(x), persistent=False)
        self.register_buffer("width", width.to(x), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return changed inputs of the same shape."""
        unit = ((inputs - self.offset) / self.width).clamp(0, 1)
        return self.changed(unit) * self.width + self.offset

    @abstractmethod
    def changed(self, unit: Tensor) -> Tensor:
        """Change inputs in [0, 1], shape ``(N, *)``."""


class Preprocessed(nn.Module):
    """A model behind a change of its inputs.

    Args:
        change: of the inputs.
        model: what answers.
    """

    def __init__(self, change: nn.Module, model: nn.Module) -> None:
        super().__init__()
        self.change = change
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the model answers to the changed inputs."""
        outputs: Tensor = self.model(self.change(inputs))
        return outputs


def require_kind(attack: Attack, dataset: Dataset, *dims: int) -> None:
    """Refuse inputs of another kind.

    Raises:
        OptionError: inputs have none of these numbers of axes.
    """
    found = dataset.x_train.dim()
    if found not in dims:
        kinds = " or ".join(_KINDS[dim] for dim in dims)
        raise OptionError(
            f"attack {attack.name!r} changes {kinds}; these inputs are {_KINDS[found]} of shape "
            f"{dataset.input_shape}"
        )


@dataclass(frozen=True, kw_only=True)
class InputAttack(Attack):
    """A change of what a model is asked: against marks that are read from answers.

    The weights stay as they are, under names that begin with ``model.``.
    """

    needs: ClassVar[tuple[Need, ...]] = ()

    @abstractmethod
    def change(self, data: AttackData, generator: torch.Generator) -> InputChange:
        """The change; of the data, the inputs' range."""

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A copy behind the change."""
        return Preprocessed(self.change(data, generator), copy_of(model)).eval()
