"""The classes that backgrounds stand for: keyed, uniform, and enough of them for a proof."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from modeldeed.anchor.plugin_rule import BackgroundRule, PluginRule
from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import Backgrounds
from modeldeed.plugin.target_classes import batch_labels, labels_of, plugin_rule, target_classes
from modeldeed.statistics import information_limit

FORM = ImageInput(channels=3, height=32, width=32)


def backgrounds(count: int = 168) -> BackgroundRule:
    kind = "fixed" if count == 1 else "multi"
    return BackgroundRule(
        input=FORM, kind=kind, family="layers/v1", placing="window/v1", count=count
    )


OWN = Backgrounds(bytes(32), backgrounds())


@pytest.mark.parametrize("classes", [2, 3, 10, 1000, 100_000])
def test_every_batch_can_prove_the_claim(classes: int) -> None:
    rule = plugin_rule(backgrounds(), classes)
    assert rule.count > information_limit(classes)
    assert rule.count * rule.batches <= 168
    assert rule.count >= 64


def test_golden_classes() -> None:
    rule = plugin_rule(backgrounds(), 10)
    first = labels_of(bytes(32), OWN, rule, 0)
    assert first[:12].tolist() == GOLDEN
    assert not torch.equal(first, labels_of(bytes(32), OWN, rule, 1))
    assert not torch.equal(first, labels_of(bytes([1] * 32), OWN, rule, 0))
    others = Backgrounds(bytes([1] * 32), backgrounds())
    assert not torch.equal(first, labels_of(bytes(32), others, rule, 0))


GOLDEN = [2, 7, 8, 5, 7, 5, 6, 9, 7, 4, 8, 1]


def test_all_backgrounds_have_a_class_and_batches_hold_theirs() -> None:
    rule = plugin_rule(backgrounds(), 10)
    classes = target_classes(bytes(32), OWN, rule)
    assert classes.shape == (168,)
    for number in range(rule.batches):
        part = classes[number * rule.count : (number + 1) * rule.count]
        assert torch.equal(part, labels_of(bytes(32), OWN, rule, number))


def test_classes_are_uniform_over_keys() -> None:
    rule = plugin_rule(backgrounds(), 7)
    drawn = torch.cat([labels_of(key.to_bytes(32, "big"), OWN, rule, 0) for key in range(100)])
    assert chisquare(torch.bincount(drawn, minlength=7).numpy()).pvalue > 1e-3


def test_backgrounds_cannot_be_chosen_one_by_one() -> None:
    """The forgery: open batches whose backgrounds were each picked for what a model answers there.

    The model here answers by the background alone. With a class for each background from the
    batch's key, and nothing else, ten tries a background would match all 64.
    """
    generator = np.random.default_rng(0)
    shown = [generator.bytes(32) for _ in range(64)]

    def matches() -> int:
        classes = batch_labels(bytes(32), shown, 10).tolist()
        return sum(wanted == key[0] % 10 for wanted, key in zip(classes, shown, strict=True))

    tried = [matches()]
    for step in range(640):
        place, before = step % 64, shown[step % 64]
        shown[place] = generator.bytes(32)
        tried.append(matches())
        if tried[-1] < max(tried):
            shown[place] = before
    # As of 641 independent tries, the best of which is hardly ever above 18.
    assert max(tried) <= 20
    assert np.mean(tried) == pytest.approx(6.4, abs=0.5)


def test_the_fixed_kind_is_one_question() -> None:
    rule = plugin_rule(backgrounds(1), 10)
    assert (rule.count, rule.batches) == (1, 1)


@pytest.mark.parametrize("classes", [1, 0, -3, 100_001])
def test_classes_out_of_range(classes: int) -> None:
    with pytest.raises(OptionError, match="num_classes must be 2"):
        plugin_rule(backgrounds(), classes)


def test_too_few_backgrounds_are_told() -> None:
    with pytest.raises(OptionError, match="at least 85 are needed"):
        plugin_rule(backgrounds(64), 2)


def test_batches_hold_no_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="more backgrounds than there are"):
        PluginRule(backgrounds=backgrounds(64), classes=10, count=64, batches=2)
    with pytest.raises(ValueError, match="'fixed' there is one"):
        BackgroundRule(input=FORM, kind="fixed", family="blocks/v1", placing="window/v1", count=2)
