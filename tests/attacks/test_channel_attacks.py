"""Channels: the right ones go, they are really gone, and they stay away."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import nn

from modeldeed.attacks import AttackData, FinePrune, prune_channels
from modeldeed.attacks._channels import activations, norms_behind
from modeldeed.attacks.fine_pruning import last_hidden
from modeldeed.data import Dataset
from modeldeed.errors import MissingExtraError, OptionError
from modeldeed.training import accuracy
from tests.attacks.conftest import DigitNet, SmallPoints, SmallTransformer, seeded, small_points


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def gone(layer: nn.Module) -> list[int]:
    rows = layer.weight.detach().flatten(1).abs().sum(1)
    return (rows == 0).nonzero().flatten().tolist()


def without(model: DigitNet, kept: list[list[int]]) -> DigitNet:
    """The same network with those channels cut out by hand."""
    small = copy.deepcopy(model)
    inputs = [0]
    for number, rows in enumerate(kept, 1):
        conv, norm = getattr(small, f"conv{number}"), getattr(small, f"norm{number}")
        conv.weight.data = conv.weight.data[rows][:, inputs]
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, name).data = getattr(norm, name).data[rows]
        inputs = rows
    small.fc.weight.data = small.fc.weight.data[:, inputs]
    return small


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_smallest_channels_are_cut_out(
    trained: nn.Module, digits: Dataset, share: float
) -> None:
    x = digits.x_test[:20]
    changed = prune_channels(trained, x[:2], share=share)
    kept = []
    for number in (1, 2, 3):
        before = getattr(trained, f"conv{number}").weight.detach().flatten(1).norm(dim=1)
        removed = gone(getattr(changed, f"conv{number}"))
        assert len(removed) == round(share * len(before))
        assert set(removed) == set(before.argsort()[: len(removed)].tolist())
        kept.append([i for i in range(len(before)) if i not in removed])
    # Zeros compute what a smaller network does.
    torch.testing.assert_close(changed(x), without(trained, kept)(x), rtol=1e-4, atol=1e-4)
    assert torch.equal(changed.fc.weight, trained.fc.weight)


def test_the_norm_behind_a_layer_is_found_by_running() -> None:
    points = seeded(SmallPoints)
    layers = [points.conv1, points.conv2, points.fc]
    behind = norms_behind(points, layers, torch.rand(2, 10, 3))
    assert behind == {id(points.conv1): points.norm1, id(points.conv2): points.norm2}
    transformer = seeded(SmallTransformer)
    assert norms_behind(transformer, [transformer.embed], torch.rand(2, 2, 8, 8)) == {}


def test_activations_are_means_of_the_positive_part() -> None:
    model = seeded(SmallPoints)
    x = small_points().x_train
    (found,) = activations(model, [model.norm2], x)
    with torch.no_grad():
        hidden = model.norm1(model.conv1(x.transpose(1, 2))).relu()
        expected = model.norm2(model.conv2(hidden)).relu().mean(2)
    torch.testing.assert_close(found, expected)
    (flat,) = activations(model, [model.fc], x)
    assert flat.shape == (48, 8)


def test_fine_pruning_removes_what_sleeps_and_keeps_it_away(
    trained: nn.Module, digits: Dataset
) -> None:
    asleep = copy.deepcopy(trained)
    with torch.no_grad():  # five channels that never say anything
        asleep.norm3.weight[:5] = 0.1
        asleep.norm3.bias[:5] = -5
    attack = FinePrune(share=5 / 32, epochs=1, learning_rate=0.02, batch_size=32)
    changed = attack.apply(asleep, AttackData(digits), generator())
    assert gone(changed.conv3) == [0, 1, 2, 3, 4]  # after training, too
    assert not changed.norm3.weight[:5].any()
    assert not changed.norm3.bias[:5].any()
    assert changed.norm3.bias[5:].all()
    assert accuracy(changed, digits.x_test, digits.y_test) > 0.9


def test_the_last_hidden_layer() -> None:
    assert last_hidden(model := DigitNet()) is model.conv3
    dense = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 2))
    assert last_hidden(dense) is dense[1]
    with pytest.raises(OptionError, match="one layer with a weight"):
        last_hidden(nn.Sequential(nn.Linear(2, 3)))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_out_of_range_are_refused(model: nn.Module, share: float) -> None:
    with pytest.raises(OptionError, match="share is in"):
        prune_channels(model, torch.zeros(2, 2, 8, 8), share=share)
    with pytest.raises(OptionError, match="share is in"):
        FinePrune(share=share)


def test_cutting_out_needs_its_package(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(MissingExtraError, match="torch-pruning is not installed"):
        prune_channels(model, torch.zeros(2, 2, 8, 8), share=0.5, remove=True)


def test_channels_are_cut_out_of_tensors(trained: nn.Module, digits: Dataset) -> None:
    pytest.importorskip("torch_pruning")
    changed = prune_channels(trained, digits.x_test[:2], share=0.5, remove=True)
    assert changed.conv3.weight.shape == (16, 16, 3, 3)
    assert changed(digits.x_test).shape == (200, 10)


@pytest.mark.filterwarnings("ignore:Unwrapped parameters")
@pytest.mark.parametrize(("family", "reason"), [("llama", "rotary positions"),
                                                ("vit", "does not run")])  # fmt: skip
def test_what_torch_pruning_cannot_cut_is_refused(family: str, reason: str) -> None:
    pytest.importorskip("torch_pruning")
    pytest.importorskip("transformers")
    from tests.passport.host.families import make

    model, batch = make(family)
    x = next(iter(batch.values()))
    with pytest.raises(OptionError, match=rf"cannot cut channels .*{reason}.*remove=False"):
        prune_channels(model, x, share=0.2, remove=True)
    prune_channels(model, x, share=0.2)
