"""What is fixed before a plug-in is fused beside a model."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from modeldeed.anchor import Anchor, architecture_digest, require_text
from modeldeed.digests import tensor_root
from modeldeed.owner import Owner
from modeldeed.plugin.records import FusionManifest, PluginRecord
from modeldeed.plugin.target_classes import plugin_rule

__all__ = ["anchored"]


def anchored(
    record: PluginRecord, model: nn.Module, num_classes: int | Iterable[str], owner: Owner
) -> FusionManifest:
    """Commit to a model's weights and classes; the classes of the backgrounds follow from it.

    Args:
        record: of the plug-in.
        model: the target.
        num_classes: K, or the names of the classes in output order.
        owner: who signs.

    Returns:
        The signed manifest of the fusion.

    Raises:
        OptionError: a name is none that evidence can hold, or the number is out of range.
    """
    names = () if isinstance(num_classes, int) else tuple(num_classes)
    for each in names:
        require_text("num_classes", each)
    classes = num_classes if isinstance(num_classes, int) else len(names)
    state = dict(model.state_dict())
    anchor = Anchor(
        identity=record.identity,
        seed_commitment=record.seed_commitment,
        weights_root=tensor_root(state).hex(),
        architecture=architecture_digest(type(model).__qualname__, state),
        planner=None,
        targets=(),
        classes=names,
        passport=None,
        plugin=plugin_rule(record.backgrounds, classes),
    )
    return FusionManifest(anchor=anchor, label=record.label).signed(owner)
