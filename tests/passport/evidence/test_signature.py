"""Passports, bits and readings, against slow twins; the conditions of exactness."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.passport.evidence.signature import (
    claimed_bits,
    hinge,
    layer_secrets,
    passport_rows,
    project,
    reachable_margin,
)
from modeldeed.statistics import randomized_p_value
from modeldeed.streams import KeyStream

KEY = bytes(range(32))


def target(shape: tuple[int, ...] = (12, 5, 3, 3), axis: int = 0, **more: object) -> Target:
    return Target(
        norm="n", kind="batch", channels=shape[axis], affine="n.weight", weight="w", shape=shape,
        axis=axis, side="rows" if axis == 0 else "columns", **more,
    )  # fmt: skip


def digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def test_golden_secrets() -> None:
    """The evidence format: these change only with a new version of it."""
    rows = layer_secrets(KEY, 3, target())
    columns = layer_secrets(KEY, 3, target((4, 12, 3), axis=1))
    found = [digest(t) for s in (rows, columns) for t in (*s.passports, s.bits)]
    assert found == GOLDEN


GOLDEN = [
    "6880605203d713ef",
    "7575f35533e6b93d",
    "1500c527aa1d7bae",
    "35b40f7a5abae5da",
    "2b8a421f4713d716",
    "1500c527aa1d7bae",
]


@pytest.mark.parametrize(("shape", "axis"), [((12, 5, 3, 3), 0), ((4, 12, 3), 1), ((12, 9), 0)])
def test_readings_equal_a_loop_over_channels(shape: tuple[int, ...], axis: int) -> None:
    entry = target(shape, axis)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    signs = KeyStream(KEY, "passport", 0, "gamma").signs(12, entry.fan)
    passport = passport_rows(KEY, 0, entry, "gamma", "keyed")
    assert passport.shape == weight.shape
    found = project(weight, passport, axis)
    for channel in range(12):
        row = weight.select(axis, channel).reshape(-1)
        expected = sum(w * s for w, s in zip(row.tolist(), signs[channel].tolist(), strict=True))
        assert float(found[channel]) == pytest.approx(expected / float(row.norm()))


def test_a_weight_of_one_dimension_is_read_channel_by_channel() -> None:
    found = project(torch.tensor([2.0, -3.0, 0.0]), torch.tensor([1, 1, -1]), 0)
    assert found.tolist() == [1, -1, 0]


def test_every_channel_layer_role_and_key_has_its_own_passport() -> None:
    entry = target((6, 64))
    rows = [passport_rows(KEY, o, entry, r, "keyed") for o in (0, 1) for r in ("gamma", "beta")]
    rows.append(passport_rows(bytes(32), 0, entry, "gamma", "keyed"))
    stacked = torch.cat(rows).float()
    overlap = stacked @ stacked.T / 64 - torch.eye(30)
    assert float(overlap.abs().max()) < 0.6  # 870 pairs of random signs stay under 5 deviations


def test_shared_rows_repeat_one_vector() -> None:
    rows = passport_rows(KEY, 0, target((6, 64)), "gamma", "shared")
    assert (rows == rows[0]).all()


def test_bits_are_balanced_and_independent_of_passports() -> None:
    entry = target((4096, 16))
    bits = claimed_bits(KEY, 0, entry).float()
    assert abs(float(bits.mean())) < 5 / 64
    first = passport_rows(KEY, 0, entry, "gamma", "keyed")[:, 0].float()
    assert abs(float((bits * first).mean())) < 5 / 64


def test_left_out_channels_have_no_bit() -> None:
    bits = claimed_bits(KEY, 0, target(left_out=(2, 5)))
    assert (bits == 0).nonzero().flatten().tolist() == [2, 5]
    whole = claimed_bits(KEY, 0, target())
    assert torch.equal(bits[bits != 0], whole[bits != 0])  # the others keep theirs


def test_reading_has_unit_variance_on_any_unrelated_weight() -> None:
    entry = target((2048, 64))
    passport = passport_rows(KEY, 0, entry, "gamma", "keyed")
    generator = torch.Generator().manual_seed(2)
    weights = {
        "normal": torch.randn(2048, 64, generator=generator),
        "positive": torch.rand(2048, 64, generator=generator),
        "constant": torch.ones(2048, 64),
        "spiky": torch.randn(2048, 64, generator=generator) ** 5,
    }
    for name, weight in weights.items():
        r = project(weight, passport, 0)
        assert abs(float(r.mean())) < 5 / 2048**0.5, name
        assert float(r.var()) == pytest.approx(1.0, abs=0.2), name


def test_zero_rows_read_zero_and_pass_no_nan_gradient() -> None:
    weight = torch.randn(3, 10)
    weight[1] = 0
    weight.requires_grad_()
    r = project(weight, torch.ones(3, 10), 0)
    r.sum().backward()
    assert float(r[1].detach()) == 0
    assert torch.equal(weight.grad[1], torch.zeros(10))
    assert torch.isfinite(weight.grad).all()


def test_gradient_equals_the_closed_form() -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4, 9, generator=generator, dtype=torch.float64, requires_grad=True)
    passport = passport_rows(KEY, 0, target((4, 9)), "gamma", "keyed").double()
    r = project(weight, passport, 0)
    r.sum().backward()
    length = weight.norm(dim=1, keepdim=True)
    expected = passport / length - r[:, None] * weight / length**2
    torch.testing.assert_close(weight.grad, expected.detach())


def test_hinge_counts_only_bits_and_only_what_is_short() -> None:
    readings = torch.tensor([6.0, -1.0, 2.0])
    bits = torch.tensor([1.0, 0.0, -1.0])
    assert float(hinge(readings, bits, torch.full((3,), 5.0))) == pytest.approx((0 + 7) / 2)
    margins = torch.tensor([7.0, 7.0, 4.0])
    assert float(hinge(readings, bits, margins)) == pytest.approx((1 + 6) / 2)
    assert float(hinge(readings, torch.zeros(3), margins)) == 0


def test_thin_layers_are_asked_only_for_what_they_can_reach() -> None:
    assert reachable_margin(5.0, 9) == pytest.approx(2.25)
    assert reachable_margin(5.0, 1000) == 5.0
    aligned = passport_rows(KEY, 0, target((12, 9)), "gamma", "keyed").double()
    assert float(project(aligned, aligned, 0).max()) == pytest.approx(3.0)


def test_wrong_keys_match_like_fair_coins() -> None:
    """2,000 keys on one weight: randomized p-values are uniform."""
    entry = target((96, 32))
    weight = torch.randn(96, 32, generator=torch.Generator().manual_seed(4)).double()
    uniforms = np.random.default_rng(5).random(2000)

    p_values = []
    for trial, u in enumerate(uniforms):
        key = hashlib.sha256(trial.to_bytes(4, "big")).digest()
        r = project(weight, passport_rows(key, 0, entry, "gamma", "keyed"), 0)
        matches = int((claimed_bits(key, 0, entry) * r > 0).sum())
        p_values.append(randomized_p_value(matches, 96, float(u)))
    assert kstest(p_values, "uniform").pvalue > 1e-3


def test_bits_read_off_the_suspect_match_on_any_model() -> None:
    """Why b has its own label: chosen after the passports, it matches everything."""
    entry = target((96, 32))
    weight = torch.randn(96, 32, generator=torch.Generator().manual_seed(6)).double()
    r = project(weight, passport_rows(KEY, 0, entry, "gamma", "keyed"), 0)
    assert int((r.sign() * r > 0).sum()) == 96
    assert int((claimed_bits(KEY, 0, entry) * r > 0).sum()) < 70
