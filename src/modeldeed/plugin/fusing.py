"""Fusing a plug-in beside a model: fix both in an anchor, then join them under its key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, overload

from torch import fx, nn

from modeldeed.anchor import Anchor, require_text
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.anchoring.weights import digests_of, require_weights
from modeldeed.errors import OptionError
from modeldeed.plugin import files
from modeldeed.plugin.fusion import FusedModel
from modeldeed.plugin.fusion import fuse as fuse_beside
from modeldeed.plugin.records import FusionManifest, PluginRecord
from modeldeed.plugin.target_classes import plugin_rule, target_classes
from modeldeed.plugin.weaving import fuse_woven
from modeldeed.streams import derive
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.timestamping import Authority, TrustedAuthority

if TYPE_CHECKING:
    from modeldeed.plugin.plugin import Plugin

__all__ = ["anchor", "fuse"]


def anchor(
    self: Plugin,
    model: nn.Module,
    num_classes: int | Iterable[str],
    *,
    authority: Authority | TrustedAuthority | None,
) -> Anchoring:
    """Fix a plug-in beside a model in an anchor that an authority dates before the key exists.

    The backgrounds are the plug-in's own and are there before; the class of each follows from the
    token. Send `Anchoring.request`, let it `Anchoring.accept` the answer, then `fuse` with
    ``anchor=...``.

    Args:
        self: the plug-in.
        model: the target; not changed.
        num_classes: K, or the names of the classes in output order, to be committed to.
        authority: whose timestamp counts; None leaves the anchor without one.

    Returns:
        The anchor, waiting for its token.

    Raises:
        OptionError: a name is none that evidence can hold, or the number is out of range.
    """
    record, (names, classes) = self.record, _named(num_classes)
    weights_root, architecture = digests_of(model)
    fixed = Anchor(
        identity=record.identity,
        seed_commitment=record.seed_commitment,
        weights_root=weights_root,
        architecture=architecture,
        planner=None,
        targets=(),
        classes=names,
        passport=None,
        plugin=plugin_rule(record.backgrounds, classes),
        authority=authority.authority if isinstance(authority, TrustedAuthority) else authority,
    )
    return Anchoring.of(self.owner, fixed, record.label)


@overload
def fuse(
    self: Plugin,
    model: nn.Module,
    num_classes: int | Iterable[str],
    *,
    name: str = ...,
    prepare: Preparation | None = ...,
    weave: Literal[False] = ...,
    anchor: Anchoring | None = ...,
    **options: Any,
) -> FusedModel: ...


@overload
def fuse(
    self: Plugin,
    model: nn.Module,
    num_classes: int | Iterable[str],
    *,
    name: str = ...,
    prepare: Preparation | None = ...,
    weave: Literal[True],
    anchor: Anchoring | None = ...,
    **options: Any,
) -> fx.GraphModule: ...


def fuse(
    self: Plugin,
    model: nn.Module,
    num_classes: int | Iterable[str],
    *,
    name: str = "model",
    prepare: Preparation | None = None,
    weave: bool = False,
    anchor: Anchoring | None = None,
    **options: Any,
) -> FusedModel | fx.GraphModule:
    """Stand beside a trained model; nothing of the model changes.

    An anchor commits to the model's weights and classes first, and the classes of the
    backgrounds follow from it: beside every model they are others.

    Args:
        self: the plug-in.
        model: the target: any module whose output holds scores ``(N, K)``.
        num_classes: K, or the names of the classes in output order, to be committed to.
        name: of this fusion, for `fusions` and for files.
        prepare: how canonical integers become this model's input, for example
            ``Preparation(mean=..., std=...)``; None takes the plug-in's.
        weave: merge a detector of its own, which is trained now, into the layers of an image
            classifier of convolutions; a new model is made.
        anchor: an anchor with its token, made by `Plugin.anchor` for this model and these classes;
            None makes one without a timestamp.
        options: of `modeldeed.plugin.fusion.fuse`: where scores and inputs are found, whether
            scores are logits or probabilities, the target's usual confidences. To weave, of
            `modeldeed.plugin.weaving.fuse_woven`: benign inputs, how the detector is trained.

    Returns:
        The fused model, with the target itself and a copy of the detector in it; or the woven
        one, in evaluation mode.

    Raises:
        OptionError: an option is out of range, a name is taken by another model, the model
            cannot be woven, or the anchor is of another one.
        EvidenceError: the anchor is another owner's, or its token is not there yet.
    """
    if anchor is None:
        anchor = self.anchor(model, num_classes, authority=None)
    else:
        _require_fits(anchor, self, model, num_classes)
    manifest = FusionManifest(
        anchor=anchor.anchor, label=anchor.label, token=anchor.token_text()
    ).signed(self.owner)
    files.require_name(name)
    if self.fusions.get(name, manifest) != manifest:
        raise OptionError(
            f"{name!r} is this plug-in beside another model, or under another anchor; give another "
            "name"
        )
    rule, key = manifest.anchor.plugin_rule, manifest.model_key(self.owner)
    chosen: dict[str, Any] = {
        "classes": target_classes(key, self.backgrounds, rule),
        "num_classes": rule.classes,
        "preparation": prepare or self.prepare,
        **options,
    }
    fused: FusedModel | fx.GraphModule
    if weave:
        own = derive(key, "weave")
        fused = fuse_woven(model, self.backgrounds, key=own, **chosen).model
    else:
        fused = fuse_beside(model, self.detector, **chosen)
    self.fusions[name] = manifest
    return fused


def _named(num_classes: int | Iterable[str]) -> tuple[tuple[str, ...], int]:
    names = () if isinstance(num_classes, int) else tuple(num_classes)
    for each in names:
        require_text("num_classes", each)
    return names, num_classes if isinstance(num_classes, int) else len(names)


def _require_fits(
    anchoring: Anchoring, plugin: Plugin, model: nn.Module, num_classes: int | Iterable[str]
) -> None:
    fixed, record = anchoring.anchor, plugin.record
    names, classes = _named(num_classes)
    if fixed.plugin is None or not _of(fixed, anchoring.label, record):
        raise OptionError("this anchor is not one of this plug-in")
    anchoring.require_owner(plugin.owner)
    if (fixed.classes, fixed.plugin.classes) != (names, classes):
        raise OptionError(
            f"num_classes={num_classes!r}: the anchor fixed {fixed.plugin.classes} classes"
            f"{', by their names' if fixed.classes else ''}"
        )
    require_weights(model, fixed)


def _of(fixed: Anchor, label: str, record: PluginRecord) -> bool:
    seen = (fixed.identity, fixed.seed_commitment, label, fixed.plugin_rule.backgrounds)
    own = (record.identity, record.seed_commitment, record.label, record.backgrounds)
    return seen == own
