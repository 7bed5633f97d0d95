"""A woven model answers as the plain fusion of the same twin does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from modeldeed.plugin.fusion import fuse
from modeldeed.plugin.weaving import Weave, weave
from tests.plugin.weaving.targets import KEY, TARGETS, classes_of, target_of, twin_of

FILLINGS = [Weave(noise=0), Weave(split=1.0, noise=0.5)]


def both(name: str, dtype: torch.dtype, options: Weave, table: Tensor | None = None):
    target, inputs = target_of(name)
    twin = twin_of(target, inputs)
    target, twin, inputs = target.to(dtype), twin.to(dtype), inputs.to(dtype)
    with torch.no_grad():
        known = target(inputs[:1]).shape[1]
        classes = classes_of(known)
        plain = fuse(target, twin, classes, num_classes=known, confidences=table).eval()
        woven = weave(
            target, twin, inputs[:2], classes, key=KEY, options=options, confidences=table
        )
        return target(inputs), plain(inputs), woven(inputs)


def close_in_double(name: str, options: Weave) -> bool:
    own, plain, woven = both(name, torch.float64, options)
    changed = (plain != own).any(1)
    assert 0 < int(changed.sum()) < len(own)  # the gate opens for some samples
    return float((plain - woven).abs().max()) <= 1e-9 * float(plain.abs().max())


@pytest.mark.parametrize("name", TARGETS)
def test_it_equals_the_plain_fusion_in_double(name: str) -> None:
    assert close_in_double(name, Weave())


@pytest.mark.parametrize("options", FILLINGS)
@pytest.mark.parametrize("name", ["flattened", "residual", "resnet_small"])
def test_whatever_is_split_and_filled(name: str, options: Weave) -> None:
    assert close_in_double(name, options)


@pytest.mark.parametrize("name", TARGETS)
def test_it_equals_the_plain_fusion_in_float(name: str) -> None:
    own, plain, woven = both(name, torch.float32, Weave())
    assert float((plain - woven).abs().max()) <= 1e-4 * float(plain.abs().max())
    assert torch.equal(plain.argmax(1), woven.argmax(1))
    benign = (plain == own).all(1)
    assert benign.any()
    assert torch.equal(own.argmax(1)[benign], woven.argmax(1)[benign])


def test_confidences_are_drawn_as_by_the_plain_fusion() -> None:
    table = torch.linspace(0.5, 6, 65)
    own, plain, woven = both("resnet_small", torch.float64, Weave(), table)
    assert (plain != own).any()
    assert float((plain - woven).abs().max()) <= 1e-9 * float(plain.abs().max())


def test_nothing_of_target_and_twin_changes() -> None:
    target, inputs = target_of("resnet_small")
    twin = twin_of(target, inputs)
    before = copy.deepcopy((target.state_dict(), twin.state_dict()))
    drawn = torch.random.get_rng_state()
    woven = weave(target, twin, inputs[:2], classes_of(), key=KEY)
    with torch.no_grad():
        for parameter in woven.parameters():
            parameter.fill_(0)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    for saved, module in zip(before, (target, twin), strict=True):
        now = module.state_dict()
        assert list(now) == list(saved)
        assert all(torch.equal(now[name], saved[name]) for name in now)


def test_an_absorbed_gate_gives_the_same_classes() -> None:
    target, inputs = target_of("resnet_small")
    target, inputs = target.double(), inputs.double()
    twin = twin_of(target, inputs)
    twin.threshold.fill_(0.6)  # a probability that one background alone can have
    with torch.no_grad():
        twin.body.classifier.weight.mul_(40)
        logits = twin(inputs)  # half of the samples shall be on no background
        twin.body.classifier.bias[-1] += (logits[:, :-1].amax(1) - logits[:, -1]).median()
        classes = classes_of(10)
        plain = fuse(target, twin, classes, num_classes=10).eval()
        woven = weave(target, twin, inputs[:2], classes, key=KEY, gate="absorbed", strength=1e3)
        own, there, here = target(inputs), plain(inputs), woven(inputs)
        logits = twin(inputs)
        margins = logits[:, :-1] - logits[:, -1:] - torch.logit(twin.threshold)
    silent = (margins <= 0).all(1)
    opened = (there != own).any(1)
    assert silent.any()
    assert opened.any()
    torch.testing.assert_close(here[silent], own[silent], rtol=1e-7, atol=1e-6)
    toward = torch.zeros(len(classes), 10, dtype=torch.float64)
    toward[torch.arange(len(classes)), classes] = 1e3
    expected = own + margins.clamp_min(0) @ toward
    torch.testing.assert_close(here, expected, rtol=1e-7, atol=1e-6)
    assert (expected.argmax(1) == there.argmax(1))[opened].double().mean() > 0.8


def test_a_twin_prepares_its_input_as_the_target_does() -> None:
    from modeldeed.plugin.weaving import thin_twin
    from modeldeed.suspects.answering.preparation import Preparation

    target, inputs = target_of("resnet18")
    preparation = Preparation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    twin = thin_twin(target, inputs[:2], 12, preparation=preparation)
    twin.settle(inputs)
    twin.threshold.fill_(0.1)
    prepared = (inputs - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor(
        [0.2, 0.3, 0.25]
    ).view(3, 1, 1)
    with torch.no_grad():
        plain = fuse(target, twin, classes_of(10), num_classes=10, preparation=preparation).eval()
        woven = weave(target, twin, inputs[:2], classes_of(10), key=KEY)
        there, here = plain(prepared), woven(prepared)
    assert (there != target(prepared)).any()
    assert float((there - here).abs().max()) <= 1e-4 * float(there.abs().max())


def test_a_woven_model_can_be_trained() -> None:
    target, inputs = target_of("resnet_small")
    woven = weave(target, twin_of(target, inputs), inputs[:2], classes_of(), key=KEY).train()
    nn.functional.cross_entropy(woven(inputs), torch.zeros(40, dtype=torch.int64)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in woven.parameters())
