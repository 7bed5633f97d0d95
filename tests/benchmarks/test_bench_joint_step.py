"""The joint-step experiment, on a network small enough for a test."""

import pytest

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import joint_step
from benchmarks.experiments._joint_step_card import JointStep, Part, Profile, render
from benchmarks.experiments.overhead import Net


def test_a_tiny_run_makes_a_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net(width=16, bfloat16=False, batch=16, repeats=2)
    monkeypatch.setitem(joint_step.NETS, "quick", (net,))
    with pytest.raises(SystemExit) as raised:
        app(["run", "joint-step", "--threads", "1", "--json"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    (profile,) = JointStep.model_validate(card.metrics).nets
    assert [part.name.split()[0] for part in profile.parts] == ["reading", "private", "signature,"]
    assert profile.due_of_plain > 1.2  # every sample twice: far from noise
    assert f"{profile.due_of_plain:.3f}" in render(card)


def test_the_mean_step_spreads_what_is_due_over_the_interval() -> None:
    part = Part(name="private", seconds=0.1, of_plain=1.0)
    profile = Profile(
        net="a", batch=1, interval=8, plain_seconds=0.1, parts=(part,), due_of_plain=2.0
    )
    assert profile.average == 1.125
