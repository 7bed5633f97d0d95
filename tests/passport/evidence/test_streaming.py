"""The fast reading against the slow one, and where rounding could turn a bit."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.passport.evidence import _compiled_sums, streaming
from modeldeed.passport.evidence._compiled_sums import CompiledSums, compiled_sums
from modeldeed.passport.evidence._packed_signs import PackedSigns
from modeldeed.passport.evidence.reading import BoundLayer, load_layers, matches_of, read_signature
from modeldeed.passport.evidence.signature import passport_rows, project
from modeldeed.passport.evidence.streaming import Channels, prepare, readings
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights

KEY = bytes(range(32))


def entry(shape: tuple[int, ...], axis: int) -> Target:
    return Target(
        norm="n", kind="batch", channels=shape[axis], affine=None, weight="w", shape=shape,
        axis=axis, side="rows" if axis == 0 else "columns",
    )  # fmt: skip


def signs(target: Target, rows: str = "keyed") -> PackedSigns:
    return PackedSigns(KEY, 3, target.fan, rows)


def random(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def slow(weight: Tensor, target: Target, rows: str = "keyed") -> np.ndarray:
    passport = passport_rows(KEY, 3, target, "gamma", rows)
    return project(weight.double(), passport, target.axis).numpy()


def check(weight: Tensor, axis: int, rows: str = "keyed", threads: int = 1) -> np.ndarray:
    target = entry(tuple(weight.shape), axis)
    expected = slow(weight, target, rows)
    found = readings(Channels(weight, axis), signs(target, rows), threads=threads)
    assert np.array_equal(np.sign(found), np.sign(expected))
    assert np.allclose(found, expected, rtol=0, atol=1e-5 * math.sqrt(target.fan))
    many = prepare(Channels(weight, axis)).readings(signs(target, rows))
    assert np.array_equal(np.sign(many), np.sign(expected))
    return found


SHAPES = [
    ((12, 5, 3, 3), 0), ((300, 27), 0), ((7, 1000), 0), ((3, 70_001), 0), ((9, 1), 0),
    ((2, 9), 0), ((130, 576), 0), ((5, 13), 1), ((40, 30, 3), 1), ((300, 777), 1), ((1, 9), 1),
    ((6, 5, 4, 3), 2), ((2, 5_001), 1), ((3, 300, 35, 35), 1), ((1030, 8), 1),
]  # fmt: skip


@pytest.mark.parametrize("rows", ["keyed", "shared"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_the_fast_reading_equals_the_slow_one(shape: tuple[int, ...], axis: int, rows: str) -> None:
    check(random(shape), axis, rows)


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=4).flatmap(
        lambda shape: st.tuples(st.just(tuple(shape)), st.integers(0, len(shape) - 1))
    ),
    st.integers(0, 5),
)
def test_the_fast_reading_of_any_shape(
    shape_and_axis: tuple[tuple[int, ...], int], seed: int
) -> None:
    check(random(shape_and_axis[0], seed), shape_and_axis[1])


@pytest.mark.parametrize(("shape", "axis"), [((70, 901), 0), ((3, 9_001), 0), ((90, 301), 1)])
def test_neither_blocks_nor_threads_change_a_reading(
    shape: tuple[int, ...], axis: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = random(shape)
    whole = check(weight, axis)
    monkeypatch.setattr(streaming, "BLOCK", 1_000)
    monkeypatch.setattr(streaming, "TASK", 3_000)
    monkeypatch.setattr(streaming, "PANEL", 16)
    one, four = (check(weight, axis, threads=threads) for threads in (1, 4))
    assert np.array_equal(one, four)
    assert np.allclose(one, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_every_stored_type_is_read(dtype: torch.dtype, axis: int) -> None:
    check(random((64, 300)).to(dtype), axis)


def test_a_tensor_that_is_not_dense_in_memory_is_read() -> None:
    check(random((8, 3, 5, 5)).to(memory_format=torch.channels_last), 0)
    check(random((40, 30)).T, 1)


@pytest.mark.parametrize("axis", [0, 1])
def test_factors_belong_to_the_first_dimension(axis: int) -> None:
    integers = torch.randint(-127, 128, (40, 60), generator=torch.Generator().manual_seed(1))
    scale = torch.rand(40, dtype=torch.float64) - 0.3
    stored = Channels(integers.to(torch.int8), axis, scale)
    target = entry((40, 60), axis)
    expected = slow(integers * scale[:, None], target)
    assert np.allclose(readings(stored, signs(target)), expected, atol=1e-4)
    assert np.allclose(prepare(stored).readings(signs(target)), expected, atol=1e-4)


# --- bits near zero ---


def near_zero(axis: int, fan: int, dtype: torch.dtype, gap: float) -> tuple[Tensor, list[int]]:
    """Rows whose exact ⟨w, P⟩ is a last element's unit or so, and the exact signs."""
    count = 64
    shape = (count, fan) if axis == 0 else (fan, count)
    passport = passport_rows(KEY, 3, entry(shape, axis), "gamma", "keyed").movedim(axis, 0)
    source = torch.Generator().manual_seed(0)
    rows = torch.randn(count, fan, generator=source, dtype=torch.float64).to(dtype)
    for row, ones in zip(rows, passport, strict=True):
        terms = [Fraction(w) * int(p) for w, p in zip(row.tolist(), ones.tolist(), strict=True)]
        rest = sum(terms[1:], Fraction(0))
        row[0] = float(-rest * int(ones[0])) * (1 + gap)  # rounded: the sum is not zero
    exact = [
        sum(Fraction(w) * int(p) for w, p in zip(row.tolist(), ones.tolist(), strict=True))
        for row, ones in zip(rows, passport, strict=True)
    ]
    return rows.movedim(0, axis).contiguous(), [(total > 0) - (total < 0) for total in exact]


CASES = [
    (axis, fan, dtype, gap)
    for axis in (0, 1)
    for fan, dtype, gap in [
        (40, torch.float32, 0.0), (2_000, torch.float32, 0.0), (2_000, torch.float32, 1e-5),
        (500, torch.float64, 0.0), (500, torch.float64, 1e-12),
    ]
]  # fmt: skip


@pytest.mark.parametrize(("axis", "fan", "dtype", "gap"), CASES)
def test_a_sign_near_zero_is_the_exact_one(
    axis: int, fan: int, dtype: torch.dtype, gap: float
) -> None:
    weight, exact = near_zero(axis, fan, dtype, gap)
    target = entry(tuple(weight.shape), axis)
    assert 0 < sum(sign > 0 for sign in exact) < 64, "both signs, or nothing is shown"
    for found in (
        readings(Channels(weight, axis), signs(target)),
        prepare(Channels(weight, axis)).readings(signs(target)),
    ):
        assert np.sign(found).tolist() == exact
    if gap <= 1e-12:
        # What the pass alone would have said: without recounting this test would fail.
        passport = passport_rows(KEY, 3, target, "gamma", "keyed")
        naive = (weight.float() * passport).sum(1 - axis).sign().tolist()
        assert naive != exact


def test_a_sum_that_cancels_exactly_reads_zero() -> None:
    target = entry((64, 9), 0)
    passport = passport_rows(KEY, 3, target, "gamma", "keyed").double()
    terms = torch.tensor([2.0**60, 1.0, -(2.0**60), 3.0, -4.0, 0.0, 2.0**-60, -(2.0**-60), 0.0])
    weight = terms.double() * passport
    assert slow(weight, target).any(), "float64 alone gets this wrong"
    assert not readings(Channels(weight, 0), signs(target)).any()


@pytest.mark.parametrize(
    ("factor", "dtype"),
    [
        (2.0**-54, torch.float32), (2.0**100, torch.float32), (2.0**-100, torch.float32),
        (2.0**-130, torch.float32), (2.0**1000, torch.float64), (2.0**-1000, torch.float64),
    ],
)  # fmt: skip
@pytest.mark.parametrize("axis", [0, 1])
def test_rescaled_rows_keep_their_readings(axis: int, factor: float, dtype: torch.dtype) -> None:
    weight = (random((40, 40)) * 2**10).round().to(dtype) / 2**10  # exact however small
    scaled = weight * factor
    target = entry((40, 40), axis)
    expected = readings(Channels(weight, axis), signs(target))
    for found in (
        readings(Channels(scaled, axis), signs(target)),
        prepare(Channels(scaled, axis)).readings(signs(target)),
    ):
        assert np.array_equal(np.sign(found), np.sign(expected))
        assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_wide_range_within_a_row_loses_nothing(axis: int) -> None:
    """The largest magnitude decides a row's reading, were it alone beyond float32's squares."""
    weight = random((40, 40)) * 1e-20
    weight[3, 7] = 1e25
    check(weight, axis)


def test_rows_that_cannot_be_read_are_zero_or_nan() -> None:
    weight = random((6, 40))
    weight[1], weight[2, 3], weight[3, 4], weight[4, 5] = 0, math.nan, math.inf, -math.inf
    target = entry((6, 40), 0)
    for found in (
        readings(Channels(weight, 0), signs(target)),
        prepare(Channels(weight, 0)).readings(signs(target)),
    ):
        assert found[1] == 0
        assert np.isnan(found[2:5]).all()
        assert np.array_equal(found[[0, 5]] != 0, [True, True])


# --- many keys, and little memory ---


def test_many_keys_read_as_one_by_one() -> None:
    suspect = {"w": random((64, 50)), "v": random((50, 64)).to(torch.bfloat16)}
    targets = [
        entry((64, 50), 0).model_copy(update={"left_out": (3, 5)}),
        entry((50, 64), 1).model_copy(update={"weight": "v"}),
    ]
    layers = load_layers(open_weights(suspect), targets)
    for number in range(20):
        key = number.to_bytes(32, "big")
        assert matches_of(layers, key) == read_signature(layers, key, Budget()).matches


def test_the_slow_copy_of_a_layer_has_its_rows_scaled_exactly() -> None:
    weight = random((40, 30))
    target = entry((40, 30), 1)
    layer = BoundLayer(target, Channels(weight, 1), torch.ones(30))
    largest = layer.weight.abs().amax(0)
    assert layer.weight.dtype == torch.float64
    assert ((largest >= 0.5) & (largest < 1)).all()
    assert torch.equal(layer.weight / layer.weight[0], weight.double() / weight[0].double())


@pytest.mark.parametrize("axis", [0, 1])
def test_a_reading_makes_no_copy_of_the_weight(axis: int) -> None:
    weight = random((2_048, 2_048))  # 16 MiB
    target = entry((2_048, 2_048), axis)
    readings(Channels(weight, axis), signs(target))
    tracemalloc.start()
    try:
        readings(Channels(weight, axis), signs(target))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * 2**20


# --- compiled sums ---


@pytest.fixture(scope="module")
def compiled() -> CompiledSums:
    pytest.importorskip("numba")
    found = compiled_sums()
    assert found is not None
    return found


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rows", ["keyed", "shared"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_compiled_sums_decide_as_numpy_does(
    shape: tuple[int, ...], axis: int, rows: str, threads: int, compiled: CompiledSums
) -> None:
    weight = random(shape)
    target = entry(shape, axis)
    channels, passport = Channels(weight, axis), signs(target, rows)
    found = readings(channels, passport, threads=threads, compiled=compiled)
    expected = slow(weight, target, rows)
    assert np.array_equal(np.sign(found), np.sign(readings(channels, passport)))
    assert np.allclose(found, expected, rtol=0, atol=1e-5 * math.sqrt(target.fan))


@pytest.mark.parametrize(("axis", "fan", "dtype", "gap"), CASES)
def test_a_compiled_sign_near_zero_is_the_exact_one(
    axis: int, fan: int, dtype: torch.dtype, gap: float, compiled: CompiledSums
) -> None:
    weight, exact = near_zero(axis, fan, dtype, gap)
    target = entry(tuple(weight.shape), axis)
    found = readings(Channels(weight, axis), signs(target), compiled=compiled)
    assert np.sign(found).tolist() == exact


def test_few_weights_are_read_alike_whatever_was_compiled_before() -> None:
    assert compiled_sums() is not None
    assert compiled_sums(_compiled_sums.WORTH_COMPILING - 1) is None
    assert compiled_sums(_compiled_sums.WORTH_COMPILING) is not None


def test_without_numba_numpy_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compiled_sums, "find_spec", lambda name: None)
    assert compiled_sums() is None
