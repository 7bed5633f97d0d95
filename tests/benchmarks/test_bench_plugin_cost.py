"""The experiment ``plugin-cost``: a tiny run from end to end, and the published fusion."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import registry
from benchmarks.cards import Card, read_card
from benchmarks.cli import app
from benchmarks.experiments import plugin_cost
from benchmarks.experiments._plugin_cost_card import PluginCosts
from benchmarks.experiments._plugin_cost_nets import Answered, Target, detector_of, fused
from benchmarks.experiments._published_fusion import PublishedFusion

TINY = Target(
    network="mobilenet_v2",
    repeats=((1, 3), (2, 2)),
    width=0.25,
    classes=10,
    size=64,
    published_width=32,
)


def in_this_process(work: Callable[..., None], *arguments: object) -> int:
    """Do the work whose memory would be watched in a process of its own; count it as a byte."""
    work(*arguments)
    return 1


def test_a_tiny_run_makes_a_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(plugin_cost.TARGETS, "quick", (TINY,))
    monkeypatch.setattr(plugin_cost, "peak_bytes", in_this_process)
    with pytest.raises(SystemExit) as raised:
        app(["run", "plugin-cost", "--threads", "1", "--json"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    assert card == read_card(tmp_path / "results" / "plugin-cost-quick.json")
    (cost,) = PluginCosts.model_validate(card.metrics).targets
    assert cost.parameters == sum(p.numel() for p in TINY.build().parameters())
    own = sum(p.numel() for p in detector_of(TINY).parameters())
    assert cost.parameters_added == own <= 100_000
    assert 1 < cost.flops_ratio < cost.published_flops_ratio
    assert cost.published_time_ratio > 1.2  # heavier than the target itself: far from noise
    assert [(timing.batch, timing.repeats) for timing in cost.timings] == [(1, 3), (2, 2)]
    assert cost.time_ratio == cost.timings[0].time_ratio.median
    for timing in cost.timings:
        for ratio in (timing.time_ratio, timing.published_time_ratio):
            assert ratio.lowest <= ratio.median <= ratio.highest
    table = registry.find("plugin-cost").table(card)
    assert "| mobilenet_v2, batch 2 |" in table
    assert card.configuration["mobilenet_v2"]["backgrounds"]["input"]["height"] == 64


def test_beside_a_target_that_computes_nothing_only_the_plug_in_is_left() -> None:
    alone = fused(Answered(TINY.classes), TINY)
    detector = detector_of(TINY)
    counts = []
    for net in (alone, detector):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(TINY.images(2, torch.device("cpu")))
        counts.append(counter.get_total_flops())
    assert counts[0] >= counts[1] > 0
    assert Answered(7)(torch.zeros(3, 1)).shape == (3, 7)


# What the authors' own code cost: operations of the fused model over those of the target alone.
MEASURED = {"resnet18": 2.00, "resnet50": 1.44, "vgg16": 1.12, "mobilenet_v2": 7.03}


@pytest.mark.parametrize("network", MEASURED)
def test_the_published_fusion_costs_what_the_authors_code_does(network: str) -> None:
    target = next(t for t in plugin_cost.TARGETS["standard"] if t.name == network)
    with torch.device("meta"):
        plain, image = target.build(), torch.empty(1, 3, 224, 224)
        both = PublishedFusion(plain).eval()
    counts = []
    for net in (plain, both):
        with FlopCounterMode(display=False) as counter:
            net(image)
        counts.append(counter.get_total_flops())
    assert counts[1] / counts[0] == pytest.approx(MEASURED[network], rel=0.005)
    added = sum(p.numel() for p in both.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added / 1e6 == pytest.approx(11.18, abs=0.005)


def test_the_published_fusion_raises_class_0_by_the_weighted_verdict() -> None:
    torch.manual_seed(0)
    target = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    net = PublishedFusion(target, weight=1.5, width=8).eval()
    x = torch.rand(5, 3, 32, 32)
    plain, verdict = target(x).softmax(1), net.proprietary(x).softmax(1)[:, 1]
    answer = net(x)
    torch.testing.assert_close(answer[:, 1:], plain[:, 1:])
    torch.testing.assert_close(answer[:, 0], plain[:, 0] + 1.5 * verdict)
    assert (answer.sum(1) > 1).all()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        answer.sum().backward()


def test_every_target_of_a_setting_is_the_published_network() -> None:
    sizes = {"resnet18": 11_689_512, "resnet50": 25_557_032, "vgg16": 138_357_544}
    for target in plugin_cost.TARGETS["standard"]:
        with torch.device("meta"):
            found = sum(p.numel() for p in target.build().parameters())
        assert found == sizes.get(target.name, 3_504_872)
