"""Which class each background stands for beside one model: keyed, uniform, hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundRule, PluginRule
from modeldeed.digests import sha256
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import Backgrounds
from modeldeed.statistics import BLACK_BOX, information_limit, triggers_per_batch
from modeldeed.streams import KeyStream, derive

__all__ = ["batch_labels", "labels_of", "plugin_rule", "target_classes"]

_MAX_CLASSES = 100_000


def plugin_rule(backgrounds: BackgroundRule, classes: int) -> PluginRule:
    """The rule of a plug-in beside a model of K classes.

    As many batches are made of the backgrounds as have twice the questions that a perfect mark
    needs.

    Args:
        backgrounds: of the plug-in.
        classes: K.

    Raises:
        OptionError: K is out of range, or even all backgrounds together would prove nothing.

    Example:
        >>> from modeldeed.anchor.trigger_rule import ImageInput
        >>> rule = BackgroundRule(input=ImageInput(channels=3, height=32, width=32), kind="multi",
        ...                       family="blocks/v1", placing="window/v1", count=168)
        >>> [(plugin_rule(rule, k).count, plugin_rule(rule, k).batches) for k in (2, 10, 1000)]
        [(168, 1), (64, 2), (64, 2)]
    """
    if not 2 <= classes <= _MAX_CLASSES:
        raise OptionError(f"num_classes must be 2 … {_MAX_CLASSES}, got {classes}")
    needed = int(information_limit(classes)) + 1
    if backgrounds.kind != "fixed" and backgrounds.count < needed:
        raise OptionError(
            f"{backgrounds.count} backgrounds prove nothing with {classes} classes, even if all "
            f"are answered: at least {needed} are needed; issue the plug-in with more"
        )
    count = min(backgrounds.count, triggers_per_batch(classes, BLACK_BOX))
    batches = max(1, backgrounds.count // count)
    return PluginRule(backgrounds=backgrounds, classes=classes, count=count, batches=batches)


def batch_labels(key: bytes, backgrounds: Sequence[bytes], classes: int) -> Tensor:
    """The classes of a batch's backgrounds, from nothing but the batch's own secrets.

    They depend on all backgrounds together. Otherwise whoever opens single batches could choose
    backgrounds one by one, each until a model that is not his answers its class; so another
    background gives all of them other classes, and all must be guessed at once.

    Args:
        key: of the batch, 32 bytes.
        backgrounds: the keys of its backgrounds, in order.
        classes: K.

    Returns:
        One class for each background, int64 ``(count,)``.
    """
    bound = sha256(b"modeldeed/v1/backgrounds of a batch", *backgrounds).hex()
    return KeyStream(key, "labels", bound).integers(classes, len(backgrounds))


def labels_of(model_key: bytes, backgrounds: Backgrounds, rule: PluginRule, batch: int) -> Tensor:
    """The classes of one batch's backgrounds, int64 ``(count,)``.

    Args:
        model_key: of the fusion's anchor, 32 bytes.
        backgrounds: of the plug-in.
        rule: of the plug-in beside this model.
        batch: its number; each has a key of its own. A last one may be shorter than the others;
            it is asked in no batch.
    """
    last = min((batch + 1) * rule.count, rule.backgrounds.count)
    keys = backgrounds.keys(range(batch * rule.count, last))
    return batch_labels(derive(model_key, "plugin", batch), list(keys.values()), rule.classes)


def target_classes(model_key: bytes, backgrounds: Backgrounds, rule: PluginRule) -> Tensor:
    """The classes of all backgrounds, int64 ``(M,)``; those in no batch have one as well."""
    parts = -(-rule.backgrounds.count // rule.count)
    return torch.cat([labels_of(model_key, backgrounds, rule, number) for number in range(parts)])
