"""What training draws from: changes of views, weaker weights, and samples on no background."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modeldeed.plugin.backgrounds import Backgrounds
from modeldeed.plugin.detector import detector_for
from modeldeed.plugin.detector.batches import Batches
from modeldeed.plugin.detector.changes import Changes, changed
from modeldeed.plugin.detector.media import medium_for
from modeldeed.plugin.detector.pools import Workshop, filled
from modeldeed.plugin.detector.weakening import weakened
from tests.plugin.detector.conftest import FORMS, carriers, rule_for, unit_scale


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_views_without_changes_are_averages() -> None:
    fine = torch.rand(5, 3, 32, 24)
    views = changed(fine, (16, 12), Changes(rows=True, columns=True), seeded())
    torch.testing.assert_close(views, F.avg_pool2d(fine, 2), atol=1e-5, rtol=0)


def test_changes_move_and_mirror_and_leave_a_quarter_alone() -> None:
    line = torch.arange(16.0).expand(4000, 1, 4, 16)
    mirrored = changed(line, (4, 16), Changes(mirrored=0.25), seeded())
    turned = (mirrored[:, 0, 0, 0] == 15).float().mean()
    assert 0.2 < float(turned) < 0.3
    moved = changed(line, (4, 16), Changes(columns=True, cut=0.2, shift=0.1), seeded())
    same = (moved == line).all(3).all(2).all(1).float().mean()
    assert 0.4 < float(same) < 0.6  # of the others, half are not cut, and most not shifted
    assert bool((moved.diff(dim=3) >= 0).all())
    assert bool((moved[:, :, 0] == moved[:, :, 3]).all())  # rows stay


def test_changes_of_tone_keep_to_their_limit() -> None:
    tone = Changes(gain=0.5, offset=1.0, tint=0.5, gray=0.5, noise=0.5, limit=2.0)
    views = changed(2 * torch.rand(400, 3, 8, 8) - 1, (8, 8), tone, seeded())
    assert float(views.abs().max()) == 2
    assert float(views.std()) > 0.5


def test_weakened_weights_come_back() -> None:
    model = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    missing, rounded, generator = [], 0, seeded()
    for _ in range(40):
        with weakened(model, 0.8, generator):
            weight = model[0].weight
            missing.append(float((weight == 0).float().mean()))
            rounded += len(weight[0].unique()) <= 15 and missing[-1] < 0.5
            model(torch.rand(2, 40)).sum().backward()
    assert model[0].weight.grad is not None
    assert 0.5 < max(missing) < 0.85
    assert min(missing) < 0.2
    assert rounded > 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_weights_come_back_when_something_fails() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    before = model[0].weight.detach().clone()
    with pytest.raises(RuntimeError, match="stop"), weakened(model, 0.9, seeded()):
        raise RuntimeError("stop")
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("name", FORMS)
def test_media_make_canonical_samples_of_every_sort(name: str) -> None:
    medium, made = medium_for(FORMS[name]), carriers(name, 40, 1)
    samples = Backgrounds(bytes(32), rule_for(name)).place(made, torch.arange(40) % 16)
    kept = samples.clone()
    altered = medium.altered(samples, seeded())
    alike = medium.look_alikes(made, seeded())
    distorted = medium.distorted(samples, seeded())
    for result in (altered, alike, made):
        assert result.shape == samples.shape
        assert result.dtype == samples.dtype
    assert distorted.dtype == samples.dtype
    assert torch.equal(samples, kept)
    assert bool((altered != samples).flatten(1).any(1).all())
    assert not torch.equal(alike, made)
    views = medium.views(samples)
    shape = detector_for(rule_for(name)).reduction.shape
    assert views.shape[1] == shape[0]
    assert all(fine >= coarse for fine, coarse in zip(views.shape[2:], shape[1:], strict=True))


@pytest.mark.parametrize("name", FORMS)
def test_unchanged_views_are_what_the_detector_sees(name: str) -> None:
    medium, samples = medium_for(FORMS[name]), carriers(name, 6, 2)
    detector = detector_for(rule_for(name))
    views = changed(medium.views(samples), detector.reduction.shape[1:], Changes(), seeded())
    torch.testing.assert_close(views, detector.reduction(unit_scale(samples)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", FORMS)
def test_made_up_samples_differ_and_follow_their_generator(name: str) -> None:
    first, again, other = (carriers(name, 24, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.flatten(1).unique(dim=0)) == 24


def test_batches_hold_the_owners_backgrounds_and_what_is_none_of_them() -> None:
    backgrounds = Backgrounds(bytes(32), rule_for("images"))
    medium = medium_for(FORMS["images"])
    workshop = Workshop(backgrounds, medium, 0)
    pools = filled(workshop, carriers("images", 64, 1), samples=4, other_keys=2, draws=500)
    assert len(pools.own) == 64
    assert pools.indices.bincount().tolist() == [4] * 16
    assert len(pools.others) == 2 * 168
    batches = Batches(
        pools, medium, (16, 16), batch_size=100, none=16, generator=workshop.generator
    )
    for _ in range(5):
        views, labels = batches.next()
        assert views.shape == (100, 3, 16, 16)
        assert views.dtype == torch.float32
        assert int((labels == 16).sum()) == 50
        assert int(labels.max()) == 16


def test_other_keys_are_others_for_every_purpose() -> None:
    backgrounds = Backgrounds(bytes(32), rule_for("images"))
    black = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    workshop = Workshop(backgrounds, medium_for(FORMS["images"]), 0)
    seen = [
        next(iter(workshop.others(black, purpose, 1)))
        for purpose in ("training", "calibration", "report")
    ]
    own = backgrounds.place(black[:1].expand(16, -1, -1, -1), torch.arange(16))
    everything = torch.cat([*seen, own]).flatten(1)
    assert len(everything.unique(dim=0)) == 3 * 168 + 16
