"""Split layers compute the same, and nothing of a weight is left in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modeldeed.attacks import SplitLayers, split_layers
from modeldeed.attacks._layers import weights_of
from modeldeed.errors import OptionError
from tests.attacks.conftest import (
    SmallPoints,
    SmallTransformer,
    full_data,
    seeded,
    small_data,
    small_model,
    small_points,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.25, 1.0])
@pytest.mark.parametrize("build", [small_model, SmallPoints, SmallTransformer])
def test_the_function_stays(build, share: float) -> None:
    model = seeded(build)
    x = small_points().x_train if build is SmallPoints else small_data().x_train
    changed = split_layers(model, share=share, generator=generator())
    torch.testing.assert_close(changed(x), model(x), rtol=1e-4, atol=1e-4)
    assert len(weights_of(changed)) > len(weights_of(model))


def test_rows_are_mixed_within_their_group_and_the_bias_moves_behind(model: nn.Module) -> None:
    changed = split_layers(model, share=1.0, generator=generator())
    first, second = changed[3]
    assert (first.groups, second.groups, first.padding_mode) == (4, 4, "reflect")
    assert first.bias is None
    assert torch.equal(second.bias, model[3].bias)
    for index in (0, 3, 5, 11):
        new, old = changed[index][0].weight.flatten(1), model[index].weight.flatten(1)
        assert new.shape == old.shape
        assert not torch.isclose(new, old).any(1).all()
        singular = torch.linalg.svdvals(changed[index][1].weight.detach().flatten(1).double())
        assert singular.max() / singular.min() <= 4.001
    assert changed[5] is changed[7]  # what was shared still is


def test_as_many_layers_are_split_as_asked_for(model: nn.Module) -> None:
    changed = split_layers(model, share=0.5, generator=generator())
    split = [i for i in (0, 3, 5, 11) if isinstance(changed[i], nn.Sequential)]
    assert len(split) == 2
    kept = [i for i in (0, 3, 5, 11) if i not in split]
    assert all(torch.equal(changed[i].weight, model[i].weight) for i in kept)


def test_torch_s_own_attention_is_left_alone() -> None:
    model = seeded(SmallTransformer)
    changed = split_layers(model, share=1.0, generator=generator())
    assert isinstance(changed.embed, nn.Sequential)
    assert type(changed.layer.linear1) is nn.Linear
    with pytest.raises(OptionError, match="no layer that can be split"):
        split_layers(nn.MultiheadAttention(4, 2), share=1.0, generator=generator())


def test_a_layer_alone_is_split_too() -> None:
    changed = split_layers(nn.Linear(3, 4), share=1.0, generator=generator())
    assert isinstance(changed, nn.Sequential)


def test_a_quarter_of_four_layers_is_one(model: nn.Module) -> None:
    changed = SplitLayers(share=0.25).apply(model, full_data(), generator())
    assert len(weights_of(changed)) == 5
    with pytest.raises(OptionError, match="share is in"):
        split_layers(model, share=0.0, generator=generator())
