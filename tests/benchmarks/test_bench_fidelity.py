import json
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from benchmarks.cards import Card, read_card
from benchmarks.cli import app
from benchmarks.experiments import fidelity
from benchmarks.experiments._fidelity_card import Fidelity
from benchmarks.hosts import Host
from modeldeed.training import Recipe

TINY = Host(data="digits", network="resnet_small", train=128, test=96, recipe=Recipe(epochs=1))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = fidelity.HOSTS["quick"]
    monkeypatch.setitem(fidelity.HOSTS, "quick", (TINY, *hosts[1:]))


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", "fidelity", "--threads", "1", "--json", *arguments])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


def test_a_tiny_run_makes_a_card_and_is_not_computed_twice(
    tiny: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = _run(capsys, "--seeds", "0")
    assert card == read_card(tmp_path / "results" / "fidelity-quick.json")
    metrics = Fidelity.model_validate(card.metrics)
    (cell,) = metrics.cells
    assert (cell.host, cell.seed, cell.signature_bits) == ("digits-resnet_small-batch", 0, 720)
    assert cell.decoys >= 10
    assert metrics.summary[0].measures["public_minus_plain"].mean == pytest.approx(
        cell.public_accuracy - cell.plain_accuracy
    )
    configuration = card.configuration["digits-resnet_small-batch"]
    assert configuration["recipe"]["epochs"] == 1
    assert {"training_rule", "head", "judge"} <= set(configuration)
    # No data root was named: the other host is left out, and the card says so.
    assert any("resnet18w16" in note and "--data-root" in note for note in card.notes)
    assert str(tmp_path) not in card.model_dump_json()

    def never(*_):
        raise AssertionError("computed twice")

    monkeypatch.setattr(fidelity, "measure_cell", never)
    again = _run(capsys, "--seeds", "0")
    assert again.metrics == card.metrics
    assert again.seconds == card.seconds


def test_the_same_seed_measures_the_same(tiny: None, capsys: pytest.CaptureFixture[str]) -> None:
    def accuracies(card: Card) -> list[dict]:
        timed = {"seconds", "plain_epoch_seconds", "marked_epoch_seconds", "training_time_ratio"}
        return [
            {name: value for name, value in cell.items() if name not in timed}
            for cell in json.loads(json.dumps(card.metrics["cells"]))
        ]

    first, second = (_run(capsys, "--seeds", "3", "--fresh") for _ in range(2))
    assert accuracies(first) == accuracies(second)
    assert first.seeds == (3,)


def test_the_judges_parts_are_disjoint() -> None:
    dataset = TINY.load(None, fidelity.torch.device("cpu"))
    judged = fidelity.Judge(calibration=256, images=512).data(dataset)
    assert (len(judged.calibration), len(judged.inputs)) == (32, 64)
    assert len(judged.labels) == len(judged.inputs)


def test_a_named_folder_without_the_data_fails_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        app(["run", "fidelity", "--only", "cifar10-*", "--data-root", str(tmp_path)])
    assert raised.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cifar10" in captured.err
