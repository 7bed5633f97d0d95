"""Send every input through an autoencoder that has learned ordinary ones.

Source:
    D. Meng, H. Chen, "MagNet: a Two-Pronged Defense against Adversarial Examples", CCS 2017 (the
    reformer); N. Lukas et al., S&P 2022 (input reconstruction).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import drawn_seed
from modeldeed.attacks._learning import learn
from modeldeed.attacks.preprocessing._wrapped import InputAttack, InputChange, require_kind
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Reconstruct"]

_WIDTH = 24


class _Autoencoder(InputChange):
    """Convolutions to half of each side and a few channels, and back."""

    def __init__(self, dataset: Dataset, channels: int) -> None:
        super().__init__(dataset)
        sound = dataset.x_train.dim() == 2
        planes = 1 if sound else dataset.input_shape[0]
        size, pad, stride = ((1, 5), (0, 2), (1, 2)) if sound else ((3, 3), (1, 1), (2, 2))
        self.down = nn.Sequential(
            nn.Conv2d(planes, _WIDTH, size, padding=pad),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, channels, size, padding=pad, stride=stride),
        )
        self.up = nn.Sequential(
            nn.Conv2d(channels, _WIDTH, size, padding=pad),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, planes, size, padding=pad),
        )

    def changed(self, unit: Tensor) -> Tensor:
        pictures = unit if unit.dim() == 4 else unit[:, None, None]
        code = F.interpolate(self.down(pictures), pictures.shape[2:], mode="nearest")
        back: Tensor = self.up(code).reshape(unit.shape)
        # What is cut off has no slope to learn by.
        return back if self.training else back.clamp(0, 1)


@register("input-reconstruction")
@dataclass(frozen=True, kw_only=True)
class Reconstruct(InputAttack):
    """Send every input through an autoencoder of ordinary ones.

    Attributes:
        channels: of the code, which has half of each of the input's sides.
        epochs: passes over the inputs that it learns.
        learning_rate: peak of one cycle of Adam.
        batch_size: samples per step.
    """

    source: ClassVar[str] = "Meng, Chen, CCS 2017; Lukas et al., S&P 2022"
    needs: ClassVar[tuple[Need, ...]] = ("inputs",)

    channels: int = 4
    epochs: int = 10
    learning_rate: float = 0.01
    batch_size: int = 64

    def __post_init__(self) -> None:
        self._recipe(0)
        if self.channels < 1:
            raise OptionError(f"channels is at least 1, got {self.channels}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Codes of eight, four, two channels."""
        own = recipe or Recipe()
        parts = {"epochs": max(1, own.epochs // 2), "batch_size": own.batch_size}
        return {
            "8 channels": cls(channels=8, **parts),
            "4 channels": cls(channels=4, **parts),
            "2 channels": cls(channels=2, **parts),
        }

    def _recipe(self, seed: int) -> Recipe:
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            optimizer="adam",
            weight_decay=0.0,
            seed=seed,
        )

    def change(self, data: AttackData, generator: torch.Generator) -> InputChange:
        """A trained autoencoder.

        Raises:
            OptionError: inputs are neither pictures nor sound.
        """
        require_kind(self, data.dataset, 4, 2)
        seed = drawn_seed(generator)
        x = data.dataset.x_train
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _Autoencoder(data.dataset, self.channels).to(x.device)
        # Distances in units of the inputs' own spread, so that one rate fits all data.
        spread = float(x.var(correction=0).clamp_min(1e-12))
        plain = replace(data, augment=None)
        learn(
            network,
            plain,
            self._recipe(seed),
            lambda inputs, _: F.mse_loss(network(inputs), inputs) / spread,
        )
        return network

    def steps(self, data: AttackData) -> int:
        """Of the autoencoder."""
        return self.epochs * (len(data.dataset.y_train) // self.batch_size)
