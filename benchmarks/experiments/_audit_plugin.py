"""A plug-in in an audit: what is attacked is the fused model, as it would be handed over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from benchmarks.plugin_hosts import PLUG_HOSTS
from modeldeed import Owner
from modeldeed.attacks import Attack, AttackData
from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.registry import Need
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.plugin.carriers import canonical_carriers
from modeldeed.plugin.plugin import Plugin
from modeldeed.plugin.weaving.separation import cut_outputs
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["CutPlugin", "fused_with"]

_LIKE = next(host for host in PLUG_HOSTS["quick"] if host.kind == "multi")


@dataclass(frozen=True, kw_only=True)
class CutPlugin(Attack):
    """Cut a fused model behind the first value that gives the same answers on benign inputs.

    Attributes:
        samples: benign inputs that are looked at.
    """

    name: ClassVar[str] = "cut-plug-in"
    source: ClassVar[str] = "This project"
    needs: ClassVar[tuple[Need, ...]] = ("inputs",)

    samples: int = 128

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """The part without the detector."""
        del generator
        inner = cut_outputs(model, data.dataset.x_train[: self.samples])
        if inner is None:
            raise OptionError("no value before the output gives the same answers")
        return copy_of(inner).eval()

    def inputs_seen(self, data: AttackData) -> int:
        """Few."""
        return min(self.samples, len(data.dataset.y_train))


def fused_with(
    model: nn.Module, owner: Owner, dataset: Dataset, seed: int, label: str
) -> tuple[nn.Module, dict[str, Any]]:
    """A plug-in, trained and fused beside a model.

    Args:
        model: trained; left as it is.
        owner: whose plug-in it is.
        dataset: of the model, normalized.
        seed: of the detector's training.
        label: of the mark.

    Returns:
        The fused model in evaluation mode, and what `modeldeed.audit.audit` is told of its mark.
    """
    prepare = Preparation(mean=dataset.mean, std=dataset.std) if dataset.mean else Preparation()
    plugin = Plugin.issue(
        owner,
        dataset.x_train[:2],
        kind=_LIKE.kind,
        backgrounds=_LIKE.backgrounds,
        label=label,
        prepare=prepare,
    )
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(dataset.x_train), generator=generator)[: _LIKE.benign]
    plugin.train(dataset.x_train[some], training=replace(_LIKE.training, seed=seed))
    fused = plugin.fuse(model, dataset.num_classes, name="audited").eval()
    form = plugin.record.backgrounds.input
    claims = {
        "plugin": plugin.fusions["audited"],
        "carriers": canonical_carriers(dataset.x_test, form, prepare),
        "owner": owner,
        "prepare": prepare,
    }
    return fused, claims
