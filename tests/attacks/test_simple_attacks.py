"""Pruning, rounding and fine-tuning: each does what it says and no more."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modeldeed.attacks import (
    AttackData,
    LowVarianceResampling,
    add_weight_noise,
    cast,
    fine_tune,
    prune,
    quantize,
    shift_weights,
    with_new_classifier,
)
from modeldeed.errors import OptionError
from modeldeed.training import accuracy
from tests.attacks.conftest import small_data

LAYERS = (0, 3, 5, 11)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [model[index].weight.detach() for index in LAYERS]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_exactly_the_smallest_weights_are_zeroed(
    model: nn.Module, share: float, scope: str
) -> None:
    pairs = list(zip(weights(model), weights(prune(model, share=share, scope=scope)), strict=True))
    for group in [pairs] if scope == "global" else [[pair] for pair in pairs]:
        before = torch.cat([old.reshape(-1) for old, _ in group])
        after = torch.cat([new.reshape(-1) for _, new in group])
        gone = after == 0
        assert int(gone.sum()) == round(share * len(before))
        assert before[gone].abs().max() <= before[~gone].abs().min()
        assert torch.equal(after[~gone], before[~gone])


def test_pruning_leaves_norms_and_biases(model: nn.Module) -> None:
    changed = prune(model, share=0.9)
    changed_names = [
        name
        for name, tensor in model.state_dict().items()
        if not torch.equal(tensor, changed.state_dict()[name])
    ]
    assert changed_names == [f"{index}.weight" for index in (0, 3, 5, 7, 11)]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_any_weights_are_zeroed_where_that_is_asked_for(model: nn.Module, share: float) -> None:
    changed = prune(model, share=share, scope="random", generator=generator())
    large = 0
    for before, after in zip(weights(model), weights(changed), strict=True):
        gone = after == 0
        assert int(gone.sum()) == round(share * gone.numel())
        assert torch.equal(after[~gone], before[~gone])
        large += int((before[gone].abs() > before.abs().median()).sum())
    total = sum(before.numel() for before in weights(model))
    assert 0.3 * share * total < large < 0.7 * share * total  # half of them are large
    with pytest.raises(OptionError, match="give a generator"):
        prune(model, share=share, scope="random")


def test_groups_of_weights_have_scales_of_their_own(model: nn.Module) -> None:
    changed = quantize(model, bits=4, group=6)
    for before, after in zip(weights(model), weights(changed), strict=True):
        for old, new in zip(before.flatten(1), after.flatten(1), strict=True):
            for part, rounded in zip(old.split(6), new.split(6), strict=True):
                step = part.abs().max() / 7
                torch.testing.assert_close(rounded / step, (part / step).round(), rtol=0, atol=1e-3)
    coarse = quantize(model, bits=4)
    near, far = (float((m[5].weight - model[5].weight).detach().norm()) for m in (changed, coarse))
    assert near < far


def test_rounding_is_that_of_torch(model: nn.Module) -> None:
    weight = model[5].weight.detach()
    scale = weight.abs().amax((1, 2, 3)) / 127
    zero = torch.zeros(8, dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)
    torch.testing.assert_close(quantize(model, bits=8)[5].weight.detach(), expected)


@pytest.mark.parametrize(
    ("form", "bits"),
    [("float16", 11), ("bfloat16", 8), ("float8_e4m3fn", 4), ("float8_e5m2", 3)],
)
def test_a_format_keeps_as_many_bits_as_it_has(model: nn.Module, form: str, bits: int) -> None:
    model[0].weight.data.mul_(0.5).add_(torch.sign(model[0].weight.data))  # no tiny ones
    changed = cast(model, form)
    before, after = model[0].weight.detach(), changed[0].weight.detach()
    assert after.dtype == torch.float32
    relative = ((after - before) / before).abs().max()
    assert 2.0**-bits / 2 < relative <= 2.0**-bits
    assert torch.equal(cast(changed, form)[0].weight, after)
    assert torch.equal(changed[6].num_batches_tracked, model[6].num_batches_tracked)


def test_what_a_format_cannot_hold_is_cut_off(model: nn.Module) -> None:
    model[0].weight.data[0, 0, 0, 0] = 1e9
    assert cast(model, "float8_e5m2")[0].weight.isfinite().all()
    with pytest.raises(OptionError, match="format 'int3' is unknown"):
        cast(model, "int3")


def test_noise_is_as_large_as_asked_for(model: nn.Module) -> None:
    changed = add_weight_noise(model, scale=0.3, generator=generator())
    for before, after in zip(weights(model)[1:], weights(changed)[1:], strict=True):
        ratio = (after - before).square().mean().sqrt() / before.square().mean().sqrt()
        assert 0.2 < ratio < 0.4
        assert abs(float((after - before).mean() / (after - before).std())) < 0.5


def test_filters_are_shifted_against_their_mean(model: nn.Module) -> None:
    changed = shift_weights(model, shift=1.0, noise=0.0, generator=generator())
    for before, after in zip(weights(model)[:-1], weights(changed)[:-1], strict=True):
        torch.testing.assert_close(after, before - before.mean(0))
        assert after.mean(0).abs().max() < 1e-6
    assert torch.equal(changed[11].weight, model[11].weight)  # the classifier
    noisy = shift_weights(model, shift=0.0, noise=1.0, generator=generator())
    moved = (noisy[5].weight - model[5].weight).detach()
    assert 0.8 < moved.std() / model[5].weight.std() < 1.2


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rounded_rows_have_as_many_levels_as_the_bits_allow(model: nn.Module, bits: int) -> None:
    levels = 2 ** (bits - 1) - 1
    for before, after in zip(weights(model), weights(quantize(model, bits=bits)), strict=True):
        for row, old in zip(after.flatten(1), before.flatten(1), strict=True):
            step = old.abs().max() / levels
            whole = row / step
            torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-3)
            assert whole.abs().max() <= levels + 1e-3
            assert (row - old).abs().max() <= step / 2 + 1e-6
        assert not torch.equal(before, after)


def test_a_row_of_zeros_survives_rounding(model: nn.Module) -> None:
    with torch.no_grad():
        model[0].weight[2] = 0
    changed = quantize(model, bits=8)[0].weight
    assert changed.isfinite().all()
    assert not changed[2].any()


def test_a_model_learns_by_fine_tuning(model: nn.Module) -> None:
    data = small_data()
    changed = fine_tune(
        model, data, epochs=20, learning_rate=0.05, batch_size=16, generator=generator()
    )
    before, after = (accuracy(m, data.x_train, data.y_train) for m in (model, changed))
    assert before < 0.5
    assert after > 0.9


def test_other_classes_need_a_new_classifier(model: nn.Module) -> None:
    other = small_data(classes=5)
    options = {"epochs": 1, "learning_rate": 0.01, "batch_size": 16, "generator": generator()}
    with pytest.raises(OptionError, match=r"3 outputs and small 5 classes.*new_classifier=True"):
        fine_tune(model, other, **options)
    changed = fine_tune(model, other, new_classifier=True, **options)
    assert changed(other.x_train).shape == (48, 5)


def test_a_new_classifier_leaves_the_other_layers(model: nn.Module) -> None:
    changed = with_new_classifier(model, 7, generator=generator())
    old, new = model.state_dict(), changed.state_dict()
    assert list(old) == list(new)
    for name in old:
        assert torch.equal(old[name], new[name]) == (not name.startswith("11."))
    assert new["11.weight"].shape == (7, 32)


@pytest.mark.parametrize("broken", [nn.Linear(3, 2), nn.Sequential(nn.Conv2d(1, 2, 1))])
def test_without_a_classifier_inside_there_is_no_new_one(broken: nn.Module) -> None:
    with pytest.raises(OptionError, match="no linear layer inside"):
        with_new_classifier(broken, 3, generator=generator())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda m: prune(m, share=0.0), "share is in"),
        (lambda m: prune(m, share=1.0), "share is in"),
        (lambda m: prune(m, share=0.5, scope="row"), "scope is 'global', 'layer' or"),
        (lambda m: quantize(m, bits=1), "bits is in"),
        (lambda m: quantize(m, bits=9), "bits is in"),
        (lambda m: quantize(m, bits=4, group=0), "group is a number"),
        (lambda m: add_weight_noise(m, scale=0.0, generator=generator()), "scale is"),
        (lambda m: shift_weights(m, shift=-1, noise=0, generator=generator()), "shift is"),
        (lambda m: shift_weights(m, shift=1, noise=-1, generator=generator()), "noise is"),
        (lambda m: with_new_classifier(m, 1, generator=generator()), "at least 2 classes"),
        (lambda _: LowVarianceResampling(passes=0), "passes ≥ 1"),
        (lambda _: LowVarianceResampling(samples=1), "samples ≥ 2"),
        (lambda _: LowVarianceResampling(epochs=-1), "epochs ≥ 0"),
    ],
)
def test_options_out_of_range_are_refused(model: nn.Module, call, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        call(model)


def test_the_augmentation_is_applied_to_every_batch(model: nn.Module) -> None:
    seen = []

    def augment(x, random):
        seen.append(len(x))
        return x

    data = AttackData(small_data(), augment)
    attack = LowVarianceResampling(samples=16, passes=2, epochs=1, batch_size=16)
    attack.apply(model, data, generator())
    assert seen == [16] * 6


@pytest.mark.parametrize("new", [False, True])
def test_the_last_layer_alone_is_trained_where_that_is_asked_for(
    model: nn.Module, new: bool
) -> None:
    model[0].weight.requires_grad_(requires_grad=False)
    data = small_data()
    options = {"epochs": 20, "learning_rate": 0.1, "batch_size": 16, "new_classifier": new}
    changed = fine_tune(model, data, **options, last_layer_only=True, generator=generator())
    old, after = model.state_dict(), changed.state_dict()
    assert list(old) == list(after)
    for name in old:
        assert torch.equal(old[name], after[name]) == (not name.startswith("11.")), name
    # It learns, and is like any other model afterwards.
    before, now = (accuracy(m, data.x_train, data.y_train) for m in (model, changed))
    assert now > before
    assert [p.requires_grad for p in changed.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]


def test_without_a_classifier_inside_no_last_layer_is_trained() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 8), nn.Flatten())
    options = {"epochs": 1, "learning_rate": 0.1, "batch_size": 16, "generator": generator()}
    with pytest.raises(OptionError, match="no linear layer inside"):
        fine_tune(model, small_data(), last_layer_only=True, **options)
