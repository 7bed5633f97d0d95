from dataclasses import replace

import pytest
import torch

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import _sweep, robustness
from benchmarks.experiments._robustness_card import Robustness, render
from benchmarks.experiments._sweep import DIGITS, Try, learned_data, sweep
from modeldeed import Verdict, attacks
from modeldeed.attacks import Attack, FineTune, Prune
from modeldeed.training import Recipe

TINY = replace(DIGITS, train=128, test=96, recipe=Recipe(epochs=2))
TRIES = (
    Try(strength="–", attack=None),
    Try(
        strength="other data",
        attack=FineTune(epochs=1, learning_rate=0.01, batch_size=16, new_classifier=True),
        data="other",
    ),
    Try(strength="99 %", attack=Prune(share=0.99), twin=False),
)


def _run(capsys: pytest.CaptureFixture[str]) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", "robustness", "--threads", "1", "--json", "--seeds", "0,1"])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


def test_a_tiny_run_attacks_both_twins_and_reads_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(robustness.HOSTS, "quick", TINY)
    monkeypatch.setattr(robustness, "sweep", lambda _: TRIES)
    card = _run(capsys)
    cells = Robustness.model_validate(card.metrics).cells
    assert [(c.seed, c.attack) for c in cells] == [
        (seed, name) for seed in (0, 1) for name in ("none", "fine-tune", "prune")
    ]
    for none, tuned, pruned in (cells[:3], cells[3:]):
        assert none.accuracy_after == none.accuracy_before == tuned.accuracy_before
        assert (none.steps, none.original_steps) == (0, 4)
        assert tuned.steps > 0
        assert tuned.plain_accuracy_after is not None
        assert pruned.plain_accuracy_after is None
        assert pruned.matches < none.matches
        assert pruned.log10_p > none.log10_p
        assert pruned.verdict is not Verdict.VERIFIED
        assert {c.required for c in (none, tuned, pruned)} == {533}
    table = render(card)
    rows = [line for line in table.splitlines() if line.startswith("| prune")]
    worst = min(cells[2].matches, cells[5].matches)
    assert [f"{worst}/720" in row for row in rows] == [True]


@pytest.mark.parametrize("setting", ["quick", "standard"])
def test_the_sweep_has_the_classic_attacks_and_no_cell_twice(setting: str) -> None:
    """The audit runs all of them."""
    tries = sweep(setting)
    classic = {"fine-tune", "low-variance-resampling", "prune", "quantize"}
    assert {t.name for t in tries} == {"none", *classic}
    assert classic <= set(attacks.names())
    places = [(t.name, t.strength) for t in tries]
    assert len(set(places)) == len(places)
    settings = [str(sorted(t.configuration().items(), key=str)) for t in tries]
    assert len(set(settings)) == len(settings)
    shares = [a.share for a in _attacks(tries) if isinstance(a, Prune) and a.scope == "global"]
    assert shares == pytest.approx([tenth / 10 for tenth in range(1, 10)])


def _attacks(tries: tuple[Try, ...]) -> list[Attack]:
    return [t.attack for t in tries if t.attack]


def test_a_tenth_of_the_data_is_trained_on_for_as_many_steps() -> None:
    poor = next(t for t in sweep("quick") if t.data == "tenth")
    rich = next(
        t for t in sweep("quick") if t.strength == "4 passes, energy 0.8, noise, fine-tuned"
    )
    own = DIGITS.load(None, torch.device("cpu"))
    sizes = {name: len(d.y_train) for name, d in learned_data(DIGITS, own, None).items()}
    assert sizes["tenth"] == sizes["same"] // 10
    steps = [
        t.attack.epochs * (sizes[t.data] / t.attack.batch_size)
        for t in (poor, rich)  # type: ignore[union-attr]
    ]
    assert steps[0] == pytest.approx(steps[1], rel=0.01)


def test_other_digits_are_another_task() -> None:
    own = DIGITS.load(None, torch.device("cpu"))
    other = learned_data(DIGITS, own, None)["other"]
    assert (other.num_classes, other.input_shape) == (5, own.input_shape)
    assert torch.equal(other.y_test, own.y_test[own.y_test >= 5] - 5)
    turned = torch.rot90(own.x_train[own.y_train >= 5][0], dims=(1, 2))
    assert torch.equal(other.x_train[0], turned)


def test_the_sizes_are_the_documented_ones() -> None:
    assert set(_sweep.HOSTS) == set(_sweep.ENERGIES) == {"quick", "standard", "full"}
