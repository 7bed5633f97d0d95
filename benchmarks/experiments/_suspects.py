"""The suspects of the false-positive experiment: marked by others, unmarked, and degenerate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from benchmarks.hosts import Host
from benchmarks.pairs import owner_for
from modeldeed import Passport, attacks
from modeldeed.data import Dataset
from modeldeed.models import NormKind
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.training import Recipe, train

__all__ = ["RECIPE", "SUSPECTS", "Networks", "Suspect", "Trained"]

RECIPE = Recipe(epochs=12)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a network is made.

    Attributes:
        norm: kind of its norms.
        head: of its passport.
        rows: of its passport.
        marked: whether its owner's mark is trained in.
        trained: whether it is trained at all.
    """

    norm: NormKind = "batch"
    head: str = "keyed"
    rows: str = "keyed"
    marked: bool = True
    trained: bool = True


MARKED = Trained()


@dataclass
class Networks:
    """The trained networks of one seed; each is made when it is first asked for.

    Attributes:
        recipe: how they are trained.
        seed: of starts, orders and owners.
    """

    recipe: Recipe
    seed: int
    _dataset: Dataset | None = None
    _made: dict[Trained, tuple[nn.Module, Manifest]] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """The digits."""
        if self._dataset is None:
            host = Host(data="digits", network="resnet_small", recipe=self.recipe)
            self._dataset = host.load(None, torch.device("cpu"))
        return self._dataset

    def get(self, how: Trained) -> tuple[nn.Module, Manifest]:
        """A network and its owner's claim; the network is not to be changed."""
        if how not in self._made:
            self._made[how] = self._make(how)
        return self._made[how]

    def _make(self, how: Trained) -> tuple[nn.Module, Manifest]:
        recipe = replace(self.recipe, seed=self.seed)
        host = Host(data="digits", network="resnet_small", norm=how.norm, recipe=recipe)
        model = host.build(self.dataset, self.seed)
        example = self.dataset.x_train[:4]
        owner = owner_for(self.seed)
        passport = Passport.issue(model, owner, example=example, head=how.head, rows=how.rows)
        if how.trained:
            for _ in train(model, self.dataset, recipe, passport=passport if how.marked else None):
                pass
        return model.eval(), passport.manifest


Change = Callable[[nn.Module, torch.Generator], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One model that wrong keys are tried on.

    Attributes:
        name: in the card.
        network: what it is made from.
        change: what is done to a copy of it; None for nothing.
        two_sided: no reading can be exactly zero, so that p-values must be uniform.
    """

    name: str
    network: Trained = MARKED
    change: Change | None = None
    two_sided: bool = True

    def build(self, networks: Networks) -> tuple[nn.Module, Manifest]:
        """The model and the claim whose wrong keys are tried."""
        model, manifest = networks.get(self.network)
        if self.change is None:
            return model, manifest
        generator = torch.Generator().manual_seed(networks.seed)
        return self.change(copy.deepcopy(model), generator), manifest


def _each_weight(change: Callable[[torch.Tensor, torch.Generator], torch.Tensor]) -> Change:
    """Change the rows ``(C, D)`` of every convolution and linear layer."""

    def changed(model: nn.Module, generator: torch.Generator) -> nn.Module:
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                weight: Any = module.weight.data
                weight.copy_(change(weight.flatten(1), generator).reshape(weight.shape))
        return model

    return changed


def _zero_some(rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    zeroed = torch.randperm(len(rows), generator=generator)[: len(rows) // 4]
    return rows.index_fill(0, zeroed, 0.0)


def _rank_2(rows: torch.Tensor) -> torch.Tensor:
    u, s, v = torch.linalg.svd(rows, full_matrices=False)
    product: torch.Tensor = (u[:, :2] * s[:2]) @ v[:2]
    return product


# "Shared rows" are the published passports: one for all channels. On rows that are all alike they
# leave nothing random in the readings, so that everything rests on the claimed bits.
SUSPECTS = (
    Suspect(name="marked"),
    Suspect(name="marked-learned-head", network=Trained(head="learned")),
    Suspect(name="marked-shared-rows", network=Trained(rows="shared")),
    Suspect(name="marked-group-norm", network=Trained(norm="group")),
    Suspect(name="unmarked", network=Trained(marked=False)),
    Suspect(name="random-weights", network=Trained(trained=False)),
    Suspect(name="rank-2", change=_each_weight(lambda rows, _: _rank_2(rows))),
    Suspect(name="all-positive", change=_each_weight(lambda rows, _: rows.abs())),
    Suspect(
        name="duplicated-rows",
        network=Trained(rows="shared", trained=False),
        change=_each_weight(lambda rows, _: rows[:1].expand_as(rows)),
    ),
    Suspect(name="quarter-of-rows-zero", change=_each_weight(_zero_some), two_sided=False),
    Suspect(
        name="constant-rows",
        change=_each_weight(lambda rows, _: rows.abs().mean(1, keepdim=True).expand_as(rows)),
        two_sided=False,
    ),
    Suspect(
        name="pruned-90-percent",
        change=lambda model, _: attacks.prune(model, share=0.9),
        two_sided=False,
    ),
    Suspect(
        name="8-bit-weights",
        change=lambda model, _: attacks.quantize(model, bits=8),
        two_sided=False,
    ),
)
