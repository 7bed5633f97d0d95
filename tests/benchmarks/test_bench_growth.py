import math
from pathlib import Path

import pytest

from benchmarks.experiments._growth_card import Curve, Growth, Point
from benchmarks.experiments._growth_work import WORKS
from benchmarks.experiments.growth import SIZES, _interleaved, _point
from benchmarks.registry import find


def curve(*seconds: float) -> Curve:
    points = tuple(
        Point(size=10**place, seconds=each, limit_seconds=each / 4)
        for place, each in enumerate(seconds)
    )
    return Curve(name="reading", size="keys", limit="a sum", points=points)


@pytest.mark.parametrize(("seconds", "exponent"), [((1, 10, 100), 1), ((1, 1), 0), ((1, 100), 2)])
def test_the_exponent_is_that_of_the_power_law(seconds: tuple[float, ...], exponent: float) -> None:
    assert math.isclose(curve(*seconds).exponent, exponent, abs_tol=1e-12)
    assert curve(*seconds).points[0].of_limit == 0.25


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_every_piece_of_work_runs_beside_its_limit(work) -> None:
    size = {"parameters": 2**20, "layers": 2, "keys": 2}.get(work.size, 64)
    assert min(_interleaved(work, size)) > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the kernel's accounts")
def test_peak_memory_is_looked_at_in_a_process_of_its_own() -> None:
    point = _point(WORKS[0], 2**20)
    assert point.peak_bytes is not None
    assert point.peak_bytes >= 4 * 2**20


def test_every_work_has_its_sizes_and_every_size_its_row() -> None:
    for sizes in SIZES.values():
        assert list(sizes) == [work.name for work in WORKS]
        assert all(list(each) == sorted(set(each)) and len(each) > 2 for each in sizes.values())
    metrics = Growth(curves=(curve(1, 10), curve(2, 3, 4)))
    assert Growth.model_validate(metrics.model_dump(mode="json")) == metrics
    assert find("growth").setting("quick").hosts[0] == "verify"
