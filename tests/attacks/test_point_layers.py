"""Attacks on weights reach the one-dimensional convolutions of a point network."""

import pytest
import torch
from torch import nn

from modeldeed import models
from modeldeed.attacks import Attack, AttackData, Prune, Quantize
from modeldeed.data import load


@pytest.mark.parametrize("attack", [Prune(share=0.5), Quantize(bits=4)])
def test_every_convolution_of_a_pointnet_changes(attack: Attack) -> None:
    pytest.importorskip("sklearn")
    torch.manual_seed(0)
    model = models.pointnet(4, "batch").eval()
    changed = attack.apply(model, AttackData(load("digits")), torch.Generator().manual_seed(0))
    before = dict(model.named_modules())
    kinds = (nn.Conv1d, nn.Linear)
    layers = [(n, m) for n, m in changed.named_modules() if isinstance(m, kinds)]
    assert any(isinstance(layer, nn.Conv1d) for _, layer in layers)
    for name, layer in layers:
        if layer.weight.detach().any():  # the last layers of the transforms start at zero
            assert not torch.equal(layer.weight, before[name].weight), name
