"""The experiments ``alignment`` and ``alignment-null``: tiny runs, and tests that must reject."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
pytest.importorskip("transformers")

from benchmarks import registry
from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import alignment, alignment_null
from benchmarks.experiments._alignment_card import Alignments
from benchmarks.experiments._alignment_hosts import HOSTS, AlignedHost, shifted
from benchmarks.experiments._alignment_null_card import Nulls
from benchmarks.experiments._alignment_null_pairs import LEFT_IN
from benchmarks.experiments._alignment_rewrites import REWRITES, rewritten
from benchmarks.experiments._fresh_bits import fresh_bits_p_value
from benchmarks.hosts import Host
from benchmarks.small_networks import PatchTokens, small_network
from modeldeed.attacks import AttackData
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

TINY = AlignedHost(
    data="digits", network="small_cnn", train=256, test=96, steps=8,
    recipe=Recipe(epochs=4, optimizer="adam", learning_rate=0.01),
)  # fmt: skip


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", *arguments, "--threads", "1", "--json", "--seeds", "0"])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


def test_a_tiny_run_gives_bits_back_and_says_what_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(HOSTS, "quick", (TINY,))
    named = ("permuted", "stages permuted", "split dummies 50 %", "all that fit")
    monkeypatch.setattr(alignment, "REWRITES", [r for r in REWRITES if r.name in named])
    monkeypatch.setattr(alignment, "SIZES", ())
    entry = registry.find("alignment")
    hosts = (TINY.name, "scale")
    settings = {**entry.settings, "quick": replace(entry.settings["quick"], hosts=hosts)}
    monkeypatch.setitem(registry._REGISTRY, "alignment", replace(entry, settings=settings))
    card = _run(capsys, "alignment")
    found = Alignments.model_validate(card.metrics)
    assert [cell.rewrite for cell in found.cells] == [
        "permuted", "split dummies 50 %", "all that fit",
    ]  # fmt: skip
    for cell in found.cells:
        assert cell.bits == 192
        assert cell.share == 1
        assert cell.matches_before < 130
        assert cell.output_difference is not None
        assert cell.output_difference < 1e-4
        assert cell.rewritten_accuracy == cell.accuracy
    permuted, dummies, everything = found.cells
    assert (permuted.readable, dummies.readable, everything.readable) == (True, False, False)
    assert "insert-layers" in everything.done
    assert [left.rewrite for left in found.left_out] == ["stages permuted"]
    table = registry.find("alignment").table(card)
    assert "3 of 3 rewrites that keep the function give all bits back" in table
    assert "stages permuted" in table


def test_honest_pairs_look_like_coins_and_a_broken_alignment_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host(data="digits", network="small_cnn", train=256, test=96, recipe=TINY.recipe)
    design = alignment_null.Design(host=host, suspects=2, bases=1, keys=4, steps=4, broken=2)
    monkeypatch.setitem(alignment_null.DESIGNS, "quick", (design,))
    monkeypatch.setattr(alignment_null, "RESAMPLES", 199)
    card = _run(capsys, "alignment-null", "--only", host.name)
    metrics = Nulls.model_validate(card.metrics)
    (found,) = metrics.populations
    assert (metrics.pairs, metrics.false_positives, metrics.keys) == (8, 0, 4)
    assert found.true_verified == 4
    assert found.ks_p > 0.005
    assert sum(found.histogram) == 8
    assert found.broken.what == LEFT_IN
    assert found.broken.mean_share > found.mean_share + 0.03
    assert found.broken.ks_p < 0.02
    assert "0 of 8 pairs" in registry.find("alignment-null").table(card)


def test_pairs_that_share_a_key_may_depend_on_each_other() -> None:
    """Tables for independent p-values reject what is only the same reading many times."""
    drawn = np.random.default_rng(3).random((30, 1, 256)) < 0.5
    same = np.repeat(drawn, 40, axis=1)
    rejected = [
        fresh_bits_p_value(same, np.ones_like(same), resamples=39, seed=seed) < 0.05
        for seed in range(3)
    ]
    assert not any(rejected)


def test_bits_that_cannot_be_read_are_mismatches_under_fresh_bits_too() -> None:
    generator = np.random.default_rng(0)
    matched = generator.random((40, 2, 256)) < 0.5
    readable = generator.random(matched.shape) < 0.8
    p = fresh_bits_p_value(matched & readable, readable, resamples=99, seed=0)
    assert p > 0.01
    peeking = (matched | (generator.random(matched.shape) < 0.2)) & readable
    assert fresh_bits_p_value(peeking, readable, resamples=99, seed=0) == 0.01


@pytest.mark.parametrize("name", ["convnext", "vit", "llama"])
def test_rewrites_leave_the_function_of_other_families_as_it_is(name: str) -> None:
    host = next(h for h in HOSTS["quick"] if h.network == name)
    dataset = replace(host, test=32).load(None, torch.device("cpu"))
    model = host.build(dataset, 0).eval()
    x, fitting = dataset.x_test[:16], []
    for rewrite in REWRITES:
        if rewrite.kind != "pure":
            continue
        try:
            suspect, _ = rewritten(rewrite, model, AttackData(dataset), host.recipe,
                                   torch.Generator().manual_seed(1))  # fmt: skip
        except OptionError:
            continue
        fitting.append(rewrite.name)
        with torch.no_grad():
            torch.testing.assert_close(suspect(x), model(x), rtol=1e-3, atol=1e-4)
    wanted = {"convnext": "stages permuted"}.get(name, "residual stream rotated")
    assert {"as it is", "renamed and permuted", "all that fit", wanted} <= set(fitting)


def test_channels_behind_rotary_positions_are_not_cut() -> None:
    """torch-pruning would never come back."""
    host = next(h for h in HOSTS["quick"] if h.network == "llama")
    dataset = replace(host, test=16).load(None, torch.device("cpu"))
    cut = next(rewrite for rewrite in REWRITES if rewrite.kind == "lossy")
    with pytest.raises(OptionError, match="rotary positions"):
        rewritten(cut, host.build(dataset, 0), AttackData(dataset), host.recipe, torch.Generator())


def test_the_grid_has_what_it_has_to_have() -> None:
    networks = [host.network for host in HOSTS["quick"]]
    assert networks == ["resnet18", "alexnet", "pointnet", "convnext", "vit", "llama"]
    assert [host.network for host in HOSTS["standard"]] == ["resnet18", "alexnet", "pointnet"]
    assert len({rewrite.name for rewrite in REWRITES}) == len(REWRITES) >= 12
    for setting in ("quick", "standard"):
        first = alignment_null.DESIGNS[setting][0]
        assert first.suspects >= 20
        assert first.keys >= 100
        assert first.keys * first.suspects >= 2_000


def test_patches_become_words() -> None:
    images = torch.zeros(1, 1, 4, 4) - 0.8
    images[0, 0, 0, 1] = 1.9
    images[0, 0, 3, 3] = 1.9
    assert PatchTokens()(images).tolist() == [[2 * 3, 0, 0, 2 * 27]]
    assert small_network("llama", 10, 1)(torch.randn(2, 1, 8, 8)).shape == (2, 10)


def test_shifted_images_move_by_a_pixel_at_most() -> None:
    images = torch.zeros(64, 1, 8, 8)
    images[:, 0, 4, 4] = 1
    places = shifted(images, torch.Generator().manual_seed(0))[:, 0].nonzero()
    assert len(places) == 64
    assert {tuple(place) for place in places[:, 1:].tolist()} == {
        (row, column) for row in (3, 4, 5) for column in (3, 4, 5)
    }
