"""Attacks that train: each pulls where it says, and the task is kept."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks import (
    AdversarialTraining,
    AttackData,
    Average,
    GuessKeys,
    LabelSmoothing,
    LowRank,
    Regularize,
    StochasticAverage,
    Transfer,
    TurnAway,
    WeightShift,
    average,
    decorrelated,
    guess_keys,
)
from modeldeed.attacks._layers import weights_of
from modeldeed.attacks.adversarial_training import perturbed
from modeldeed.attacks.key_guessing import readings
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Recipe, accuracy
from tests.attacks.conftest import DigitNet, small_data, small_model

SHORT = {"epochs": 2, "learning_rate": 0.02, "batch_size": 32}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hits(model: nn.Module, data: Dataset) -> float:
    return accuracy(model, data.x_test, data.y_test)


def confidence(model: nn.Module, data: Dataset) -> float:
    with torch.no_grad():
        return float(model(data.x_train).softmax(1).amax(1).mean())


def length(model: nn.Module) -> float:
    return sum(float(weight.detach().square().sum()) for _, weight in weights_of(model))


def cosines(model: nn.Module, before: nn.Module) -> Tensor:
    pairs = zip(weights_of(model), weights_of(before), strict=True)
    rows = [F.cosine_similarity(a.flatten(1), b.flatten(1)) for (_, a), (_, b) in pairs]
    return torch.cat(rows).detach()


def test_smoothed_labels_make_less_sure(trained: nn.Module, digits: Dataset) -> None:
    sure, unsure = (
        LabelSmoothing(**SHORT, smoothing=part).apply(trained, AttackData(digits), generator())
        for part in (0.01, 0.6)
    )
    assert confidence(unsure, digits) < 0.7 < confidence(sure, digits)
    assert hits(unsure, digits) > 0.9


def test_regularization_shrinks_weights_and_mends_the_task(
    trained: nn.Module, digits: Dataset
) -> None:
    weak, strong = (
        Regularize(**SHORT, decay=decay, mend_epochs=1).apply(
            trained, AttackData(digits), generator()
        )
        for decay in (5e-4, 0.3)
    )
    assert length(strong) < 0.5 * length(weak)
    assert hits(strong, digits) > 0.85


def test_the_loss_rises_within_the_radius(trained: nn.Module, digits: Dataset) -> None:
    x, y = digits.x_test, digits.y_test
    before = F.cross_entropy(trained(x), y)
    losses = []
    for steps in (1, 5):
        moved = perturbed(trained, x, y, radius=0.3, steps=steps)
        assert (moved - x).abs().max() <= 0.3 + 1e-5
        assert not moved.requires_grad
        losses.append(F.cross_entropy(trained(moved), y))
    assert before < losses[0] < losses[1]
    assert all(parameter.grad is None for parameter in trained.parameters())


def test_adversarial_training_makes_changed_inputs_harmless(
    trained: nn.Module, digits: Dataset
) -> None:
    attack = AdversarialTraining(**SHORT, radius=0.1)
    changed = attack.apply(trained, AttackData(digits), generator())
    x, y = digits.x_test, digits.y_test
    low, high = torch.aminmax(digits.x_train)
    reach = 0.1 * float(high - low)
    robust = [
        accuracy(model, perturbed(model, x, y, radius=reach, steps=1), y)
        for model in (trained, changed)
    ]
    assert robust[1] > robust[0] + 0.15
    assert hits(changed, digits) > 0.9


def test_an_average_lies_between(model: nn.Module) -> None:
    other = small_model().eval()
    with torch.no_grad():
        for tensor in [*other.parameters(), *other.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(1)
    changed = average(model, other, share=0.25)
    for name, tensor in changed.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, model.state_dict()[name] + 0.25)
    whole = average(model, other, share=1.0).state_dict()
    assert all(torch.allclose(t, other.state_dict()[n]) for n, t in whole.items())
    with pytest.raises(OptionError, match="other names or shapes"):
        average(model, DigitNet(), share=0.5)
    with pytest.raises(OptionError, match="share is in"):
        average(model, other, share=0.0)


def test_tied_weights_move_once() -> None:
    def tied(value: float) -> nn.Module:
        pair = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
        pair["b"].weight = pair["a"].weight
        nn.init.constant_(pair["a"].weight, value)
        return pair

    assert (average(tied(0.0), tied(1.0), share=0.5)["b"].weight == 0.5).all()


def test_an_average_has_statistics_of_its_own(model: nn.Module, data: AttackData) -> None:
    changed = Average(share=0.5).apply(model, data, generator())
    with torch.no_grad():
        outputs = changed[0](data.dataset.x_train)
    torch.testing.assert_close(changed[1].running_mean, outputs.mean((0, 2, 3)))


def test_averaging_over_a_training_is_that_of_its_epochs(
    trained: nn.Module, digits: Dataset
) -> None:
    changed = StochasticAverage(**SHORT).apply(trained, AttackData(digits), generator())
    assert hits(changed, digits) > 0.9
    once = StochasticAverage(**{**SHORT, "epochs": 1}).apply(
        trained, AttackData(digits), generator()
    )
    assert not torch.equal(once.conv1.weight, changed.conv1.weight)


def test_additions_are_of_low_rank_and_learn(trained: nn.Module, digits: Dataset) -> None:
    # The same pictures under other labels.
    turned = replace(digits, y_train=(digits.y_train + 1) % 10, y_test=(digits.y_test + 1) % 10)
    attack = LowRank(epochs=4, learning_rate=0.01, batch_size=32, rank=4, alpha=8.0)
    changed = attack.apply(trained, AttackData(turned), generator())
    before = dict(weights_of(trained))
    for name, weight in weights_of(changed):
        added = (weight - before[name]).detach().flatten(1).double()
        values = torch.linalg.svdvals(added)
        assert values[0] > 1e-2
        assert values[4:].amax().item() < 1e-5 if len(values) > 4 else True
    kept = {n: p for n, p in changed.named_parameters() if n not in before}
    assert all(torch.equal(p, trained.get_parameter(n)) for n, p in kept.items())
    assert hits(changed, turned) > hits(trained, turned) + 0.5


def test_rows_turn_away_under_a_penalty(trained: nn.Module, digits: Dataset) -> None:
    recipe = Recipe(epochs=4, batch_size=32, learning_rate=0.05)
    near, far = (decorrelated(trained, digits, recipe, penalty=penalty) for penalty in (0.0, 30.0))
    assert cosines(near, trained).square().mean() > 0.5
    assert cosines(far, trained).square().mean() < 0.3
    assert hits(far, digits) > 0.85


def test_guessed_bits_flip_and_answers_stay(trained: nn.Module, digits: Dataset) -> None:
    recipe = Recipe(epochs=4, batch_size=32, learning_rate=0.05, seed=3, weight_decay=0.0)
    changed = guess_keys(trained, AttackData(digits), recipe, guesses=1, margin=3.0, weight=4.0)
    drawing = torch.Generator().manual_seed(3)
    flipped, others = [], []
    for (_, before), (_, after) in zip(weights_of(trained), weights_of(changed), strict=True):
        shape = before.flatten(1).shape
        guessed = torch.randint(0, 2, (1, *shape), generator=drawing).to(before) * 2 - 1
        unknown = torch.randint(0, 2, (50, *shape), generator=generator(9)).to(before) * 2 - 1
        for passports, found in ((guessed, flipped), (unknown, others)):
            signs = readings(before.detach(), passports) * readings(after.detach(), passports)
            found.append((signs < 0).flatten().float())
    assert torch.cat(flipped).mean() > 0.8
    # What was not guessed flips no more than turning the rows by that much does by chance.
    assert torch.cat(others).mean() < 0.5
    assert hits(changed, digits) > 0.9


def test_readings_of_strangers_have_unit_variance() -> None:
    weight = torch.randn(6, 50, generator=generator())
    passports = torch.randint(0, 2, (2000, 6, 50), generator=generator()).float() * 2 - 1
    found = readings(weight, passports)
    assert found.shape == (2000, 6)
    assert found.mean().abs() < 0.05
    assert (found.std() - 1).abs() < 0.05


@pytest.mark.parametrize("back", [0, 2])
def test_transfer_ends_at_the_task_it_says(model: nn.Module, back: int) -> None:
    data = AttackData(small_data(), other_data=small_data(5))
    attack = Transfer(epochs=1, learning_rate=0.02, batch_size=16, back=back)
    changed = attack.apply(model, data, generator())
    assert changed(data.dataset.x_train).shape == (48, 3 if back else 5)
    assert attack.inputs_seen(data) == 48 * (2 if back else 1)
    with pytest.raises(OptionError, match="needs other data"):
        attack.apply(model, AttackData(small_data()), generator())


def test_shifted_filters_learn_again(trained: nn.Module, digits: Dataset) -> None:
    attack = WeightShift(**SHORT, shift=1.0, noise=0.6)
    changed = attack.apply(trained, AttackData(digits), generator())
    assert hits(changed, digits) > 0.85
    assert cosines(changed, trained).mean() < 0.95


def test_the_augmentation_is_seen(model: nn.Module, data: AttackData) -> None:
    seen = []

    def augment(x: Tensor, random: torch.Generator) -> Tensor:
        seen.append(len(x))
        return x

    augmented = AttackData(data.dataset, augment)
    LabelSmoothing(epochs=2, batch_size=16).apply(model, augmented, generator())
    assert seen == [16] * 6


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda m, d: LabelSmoothing(smoothing=1.0).apply(m, d, generator()), "smoothing is in"),
        (lambda m, d: AdversarialTraining(radius=0).apply(m, d, generator()), "radius is"),
        (lambda m, d: AdversarialTraining(inner=0).apply(m, d, generator()), "inner ≥ 1"),
        (lambda m, d: LowRank(rank=0).apply(m, d, generator()), "rank is at least 1"),
        (lambda m, d: TurnAway(penalty=-1).apply(m, d, generator()), "penalty is"),
        (lambda m, d: GuessKeys(guesses=0).apply(m, d, generator()), "guesses is at least 1"),
        (lambda m, d: Regularize(decay=0), "decay > 0"),
        (lambda m, d: Transfer(back=-1), "back is"),
        (lambda m, d: LabelSmoothing(epochs=0), "epochs ≥ 1"),
    ],
)
def test_options_out_of_range_are_refused(
    model: nn.Module, data: AttackData, call, told: str
) -> None:
    with pytest.raises(OptionError, match=told):
        call(model, data)


def test_nothing_of_a_training_stays_behind(trained: nn.Module, digits: Dataset) -> None:
    before = copy.deepcopy(trained.state_dict())
    changed = LowRank(**SHORT).apply(trained, AttackData(digits), generator())
    assert all(torch.equal(before[n], t) for n, t in trained.state_dict().items())
    assert all(p.grad is None for p in [*changed.parameters(), *trained.parameters()])
