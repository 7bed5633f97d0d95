"""Learning triggers along in a plain loop: the loss by hand, the loader, the match rate."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from modeldeed import Owner, TriggerSet
from modeldeed.errors import HostError, OptionError, SuspectError
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.training import Recipe, train
from modeldeed.triggers.training import TriggerTraining
from tests.test_training import toy

OWNER = Owner(bytes(range(32)))
X = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6)


def triggers_of(classes: int = 10, **training: Any) -> TriggerSet:
    rule = TriggerTraining(**training)
    return TriggerSet.issue(OWNER, example=X, classes=classes, training=rule)


def network(classes: int = 10) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.1),
            nn.Flatten(), nn.Linear(1024, classes),
        )  # fmt: skip


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_and_its_gradients_are_those_of_a_batch_joined_by_hand(soft: bool) -> None:
    targets = F.one_hot(Y, 10).float() if soft else Y
    triggers, by_hand = triggers_of(per_batch=3, distort=False), triggers_of()
    chosen = copy.deepcopy(triggers).feed._order("public").take(3)
    labels = by_hand.labels[chosen]
    more = F.one_hot(labels, 10).float() if soft else labels

    model, twin = network(), network()
    torch.manual_seed(3)
    loss = triggers.joint_loss(model, X, targets)
    loss.backward()
    torch.manual_seed(3)
    wanted = F.cross_entropy(
        twin(torch.cat([X, by_hand.inputs[chosen] / 255])), torch.cat([targets, more])
    )
    wanted.backward()
    assert torch.equal(loss, wanted)
    assert len(gradients(model)) == 6
    assert all(map(torch.equal, gradients(model), gradients(twin)))
    assert all(map(torch.equal, model.buffers(), twin.buffers()))


def test_pytorchs_random_numbers_are_left_alone() -> None:
    state, model = torch.get_rng_state(), network().eval()
    triggers = triggers_of()
    triggers.joint_loss(model, X, Y)
    list(triggers.augment([(X, Y)]))
    assert torch.equal(torch.get_rng_state(), state)


def test_distorted_triggers_keep_labels_and_follow_the_seed() -> None:
    def shown(**training: Any) -> tuple[Tensor, Tensor]:
        inputs, targets = next(iter(triggers_of(per_batch=64, **training).augment([(X, Y)])))
        return inputs[6:], targets[6:]

    plain, distorted = shown(distort=False), shown()
    assert torch.equal(plain[1], distorted[1])
    assert not torch.equal(plain[0], distorted[0])
    assert float((plain[0] - distorted[0]).abs().mean()) < 0.2
    assert torch.equal(shown()[0], distorted[0])
    assert not torch.equal(shown(seed=1)[0], distorted[0])


def test_a_loader_is_passed_over_again_and_the_order_goes_on() -> None:
    loader = DataLoader(TensorDataset(torch.cat([X, X]), torch.cat([Y, Y])), batch_size=4)
    triggers = triggers_of(distort=False)
    augmented = triggers.augment(loader, per_batch=16)
    assert len(augmented) == len(loader) == 3
    labels = []
    for _ in range(8):
        for inputs, targets in augmented:
            assert inputs.shape == (20, 1, 8, 8)
            labels.append(targets[4:])
    # 3 · 8 batches of 16 are three passes over 128 triggers.
    counts = torch.bincount(torch.cat(labels), minlength=10)
    assert torch.equal(counts, 3 * torch.bincount(triggers.labels, minlength=10))


def test_a_loader_without_a_length_has_none() -> None:
    augmented = triggers_of().augment(pair for pair in [(X, Y)])
    with pytest.raises(TypeError):
        len(augmented)
    assert len(list(augmented)) == 1


def test_what_a_loader_must_yield() -> None:
    with pytest.raises(OptionError, match="got a Tensor"):
        list(triggers_of().augment([X]))
    with pytest.raises(OptionError, match="at least 1"):
        triggers_of().augment([(X, Y)], per_batch=0)


def test_a_mapping_that_holds_its_labels() -> None:
    batch = {
        "input_ids": torch.ones(3, 12, dtype=torch.int64),
        "attention_mask": torch.ones(3, 12, dtype=torch.int64),
        "labels": torch.tensor([0, 1, 0]),
    }
    triggers = TriggerSet.issue(OWNER, example=batch, classes=2, vocabulary=(10, 90))
    (joined,) = triggers.augment([batch])
    assert joined["input_ids"].shape == (5, 12)
    assert joined["input_ids"][3:].min() >= 10
    assert joined["labels"].shape == (5,)
    assert triggers.joint_loss(OwnLoss(), batch).ndim == 0


class OwnLoss(nn.Module):
    """A host that computes its own loss, as those of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(90, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        logits = (self.embedding(input_ids) * attention_mask[..., None]).mean(1)
        return {"logits": logits, "loss": F.cross_entropy(logits, labels)}


def test_a_copy_goes_its_own_way() -> None:
    triggers = triggers_of(distort=False)
    triggers.joint_loss(network(), X, Y)
    twin = copy.deepcopy(triggers)
    assert twin.feed.state() == triggers.feed.state() == {"steps": 1, "public": 2}
    assert torch.equal(twin.feed.take("public", 4)[1], triggers.feed.take("public", 4)[1])
    twin.feed.take("public", 4)
    assert triggers.feed.state() == {"steps": 1, "public": 6}


def test_the_match_rate_is_that_of_the_answers_and_changes_nothing() -> None:
    triggers, model = triggers_of(), network().train()
    model[3].eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    rate = triggers.match_rate(model)
    assert [m.training for m in model] == [True, True, True, False, True, True]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, model.state_dict().values(), before.values()))
    with torch.no_grad():
        wanted = (model.eval()(triggers.inputs / 255).argmax(1) == triggers.labels).double().mean()
    assert rate == pytest.approx(float(wanted))
    assert triggers.match_rate(model) == triggers.match_rate(model.forward)
    with pytest.raises(SuspectError, match="returns"):
        triggers.match_rate(nn.Flatten(0))


def test_they_are_learned_in_a_plain_loop() -> None:
    dataset = toy()
    triggers = TriggerSet.issue(
        OWNER,
        example=dataset.x_train,
        classes=2,
        batches=1,
        prepare=Preparation(),
        training=TriggerTraining(per_batch=32, distort=False),
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 2))
    assert triggers.match_rate(model) < 0.65
    recipe = Recipe(
        epochs=150, batch_size=16, optimizer="adam", learning_rate=0.01, weight_decay=0.0
    )
    for _ in train(model, dataset, recipe, triggers=triggers):
        pass
    assert triggers.match_rate(model) > 0.95


def test_hardening_is_the_loss_at_noisy_weights_beside_the_tasks_inputs() -> None:
    triggers = triggers_of(distort=False, harden=0.2, harden_interval=2, harden_batch=3)
    plain = triggers_of(distort=False)
    chosen = copy.deepcopy(triggers).feed._order("hardening").take(3)
    model, twin = network(), network()
    model[3].p = twin[3].p = 0.0
    loss = triggers.joint_loss(model, X, Y)
    loss.backward()
    wanted = plain.joint_loss(twin, X, Y)
    wanted.backward()
    assert all(map(torch.equal, model.buffers(), twin.buffers()))

    generator = torch.Generator().manual_seed(0)
    noisy = copy.deepcopy(twin).train()
    with torch.no_grad():
        for p in noisy.parameters():
            noise = torch.randn(p.shape, generator=generator) * (0.2 * p.square().mean().sqrt())
            p.add_(noise)
    noisy.zero_grad()
    outputs = noisy(torch.cat([X, plain.inputs[chosen] / 255]))[6:]
    more = F.cross_entropy(outputs, plain.labels[chosen])
    more.backward()
    torch.testing.assert_close(loss, wanted + more)
    for got, first, second in zip(gradients(model), gradients(twin), gradients(noisy), strict=True):
        torch.testing.assert_close(got, first + second, rtol=1e-4, atol=1e-6)
    # Not on the next step.
    with torch.no_grad():
        twin.load_state_dict(model.state_dict())
        assert torch.equal(triggers.joint_loss(model, X, Y), plain.joint_loss(twin, X, Y))


def test_hardening_changes_nothing_but_gradients() -> None:
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    triggers = triggers_of(harden=0.2)
    model.eval()
    triggers.joint_loss(model, X, Y)
    assert all(map(torch.equal, model.state_dict().values(), before.values()))
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training


def test_a_model_without_trainable_weights_cannot_be_hardened() -> None:
    model = network().requires_grad_(False)
    with pytest.raises(HostError, match="require gradients"):
        triggers_of(harden=0.2).joint_loss(model, X, Y)
