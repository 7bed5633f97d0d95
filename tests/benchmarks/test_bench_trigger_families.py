"""The experiment ``trigger-families``: a tiny run from end to end, and what it counts."""

from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

import torch

from benchmarks import registry
from benchmarks.cards import Card, read_card
from benchmarks.cli import app
from benchmarks.experiments import trigger_families
from benchmarks.experiments._distortions import DISTORTIONS
from benchmarks.experiments._trigger_families_card import TriggerFamilies
from benchmarks.hosts import Host
from modeldeed.training import Recipe
from modeldeed.triggers.families import names

TINY = Host(data="digits", network="resnet_small", train=128, test=96, recipe=Recipe(epochs=4))
CHOICES = trigger_families.Choices(
    host=TINY, marked=("blocks/v1",), asked=32, learned=8, per_batch=4, tuned_epochs=1
)


def test_a_tiny_run_makes_a_card_with_all_families(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(trigger_families.CHOICES, "quick", CHOICES)
    with pytest.raises(SystemExit) as raised:
        app(["run", "trigger-families", "--threads", "1", "--json", "--seeds", "0,1"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    assert card == read_card(tmp_path / "results" / "trigger-families-quick.json")
    metrics = TriggerFamilies.model_validate(card.metrics)
    assert [cell.family for cell in metrics.agreement] == names("image")
    assert all((cell.models, cell.triggers) == (2, 32) for cell in metrics.agreement)
    assert all(cell.mean == cell.highest for cell in metrics.agreement), "there is one pair"
    (marked,) = metrics.marked
    assert [kept.change for kept in marked.kept] == [
        "as shipped", *DISTORTIONS, "fine-tuned, 0.1× rate", "fine-tuned, 1× rate",
    ]  # fmt: skip
    table = registry.find("trigger-families").table(card)
    assert table.count("| blocks/v1 |") == 2
    assert table.count("/v1 |") == len(names("image")) + 1


def plain(*answers: int) -> trigger_families.Plain:
    return trigger_families.Plain(seed=0, accuracy=1.0, answers={"noise/v1": answers})


def test_agreement_is_over_pairs_and_kappa_beyond_chance() -> None:
    dataset = TINY.load(None, torch.device("cpu"))
    models = [plain(0, 0, 1, 1), plain(0, 1, 1, 1), plain(2, 2, 2, 2)]
    found = trigger_families.agreement(CHOICES, dataset, "noise/v1", models)
    assert found.mean == pytest.approx((3 / 4 + 0 + 0) / 3)
    assert found.highest == 3 / 4
    # Chance: 1/2 · 1/4 + 1/2 · 3/4 = 1/2, so (3/4 − 1/2) / (1 − 1/2) = 1/2 for one pair of three.
    assert found.kappa == pytest.approx(1 / 6)
    assert (found.constant, found.most_constant) == (pytest.approx((1 / 2 + 3 / 4 + 1) / 3), 1)


def test_two_models_that_always_say_the_same_agree_by_chance() -> None:
    dataset = TINY.load(None, torch.device("cpu"))
    found = trigger_families.agreement(CHOICES, dataset, "noise/v1", [plain(2, 2), plain(2, 2)])
    assert (found.mean, found.kappa) == (1, 0)


@pytest.mark.parametrize("name", DISTORTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_distortion_changes_pictures_a_little_and_keeps_their_form(
    name: str, channels: int
) -> None:
    ramp = torch.arange(0, 256, 8, dtype=torch.uint8).expand(2, channels, 32, 32)
    images = torch.where(ramp > 100, ramp, ramp.mT).contiguous()
    changed = DISTORTIONS[name](images, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, images)
    assert float((changed.float() - images.float()).abs().mean()) < 40
