"""Training a twin, and everything at once."""

from __future__ import annotations

import pytest
import torch

from modeldeed.anchor.trigger_rule import AudioInput, ImageInput
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import Backgrounds, background_rule
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.plugin.fusion import fuse
from modeldeed.plugin.weaving import fuse_woven, thin_twin, train_twin
from tests.plugin.weaving.targets import KEY, target_of

FORM = ImageInput(channels=1, height=8, width=8)
SHORT = DetectorTraining(steps=60, batch_size=64, samples=8, other_keys=4, weaken=0)


def backgrounds_of(form: ImageInput | AudioInput = FORM) -> Backgrounds:
    return Backgrounds(bytes(32), background_rule(form, count=4))


def carriers() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    # Dark pictures with one bright spot each.
    dark = torch.randint(0, 60, (80, 1, 8, 8), generator=generator)
    dark[torch.arange(80), 0, torch.arange(80) % 4 + 2, torch.arange(80) % 3 + 2] = 250
    return dark.to(torch.uint8)


@pytest.mark.slow
def test_everything_at_once() -> None:
    target, _ = target_of("resnet_small")
    classes = torch.tensor([3, 1, 4, 1])
    backgrounds = backgrounds_of()
    woven = fuse_woven(
        target,
        backgrounds,
        classes,
        num_classes=10,
        key=KEY,
        benign=carriers(),
        training=SHORT,
    )
    assert woven.report.steps == 60
    indices = torch.arange(80) % 4
    marked = backgrounds.place(carriers(), indices).float() / 255
    benign = carriers().float() / 255
    plain = fuse(target, woven.twin, classes, num_classes=10).eval()
    with torch.no_grad():
        right = woven.twin(marked).argmax(1) == indices
        assert right.double().mean() > 0.8  # a quarter by chance
        assert (woven.twin(benign).argmax(1) == 4).double().mean() > 0.8
        for x in (marked, benign):
            torch.testing.assert_close(woven.model(x), plain(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_training_repeats_itself_and_leaves_random_numbers_alone() -> None:
    target, inputs = target_of("resnet_small")
    short = DetectorTraining(steps=2, batch_size=16, samples=2, other_keys=4)
    drawn = torch.random.get_rng_state()
    twins = []
    for _ in range(2):
        twin = thin_twin(target, inputs[:2], 4)
        twin.train()
        train_twin(twin, backgrounds_of(), carriers(), training=short)
        twins.append(twin.state_dict())
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(twins[0][name], twins[1][name]) for name in twins[0])
    fresh = thin_twin(target, inputs[:2], 4).state_dict()
    assert not torch.equal(fresh["body.classifier.weight"], twins[0]["body.classifier.weight"])


def test_a_twins_result_depends_on_the_sample_alone() -> None:
    target, inputs = target_of("mobilenet_v2")
    twin = thin_twin(target, inputs[:2], 4)
    twin.settle(inputs)
    with torch.no_grad():
        twin.eval()
        shown = twin(inputs)
        twin.train()
        torch.testing.assert_close(twin(inputs[:1]), shown[:1], rtol=1e-4, atol=1e-5)
        twin.settle(inputs * 0.7 + 0.1, keep=True)
        torch.testing.assert_close(twin(inputs), shown, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "form", [ImageInput(channels=1, height=40, width=32), AudioInput(samples=800)]
)
def test_other_forms_are_refused(form: ImageInput | AudioInput) -> None:
    target, _ = target_of("resnet_small")
    with pytest.raises(OptionError, match="images of at most 32 pixels a side"):
        fuse_woven(
            target, backgrounds_of(form), torch.zeros(4, dtype=torch.int64), num_classes=10, key=KEY
        )


def test_what_cannot_be_woven_is_refused_before_training() -> None:
    classes = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(OptionError, match="no parameters"):
        fuse_woven(torch.nn.Flatten(), backgrounds_of(), classes, num_classes=10, key=KEY)
    target, _ = target_of("resnet_small")
    with pytest.raises(OptionError, match="num_classes is 7"):
        fuse_woven(target, backgrounds_of(), classes, num_classes=7, key=KEY)
