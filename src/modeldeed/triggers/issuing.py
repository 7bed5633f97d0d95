"""Issuing a trigger set: its rule is fixed in an anchor before any trigger exists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn

from modeldeed.anchor import Anchor, require_text, seed_commitment
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.anchoring.weights import digests_of, require_weights
from modeldeed.errors import OptionError
from modeldeed.owner import Owner
from modeldeed.suspects.answering.preparation import Prepare
from modeldeed.timestamping import Authority, TrustedAuthority
from modeldeed.triggers.choosing import trigger_rule
from modeldeed.triggers.forms import form_of, preparation_of
from modeldeed.triggers.manifest import TriggerManifest
from modeldeed.triggers.training import TriggerTraining

if TYPE_CHECKING:
    from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["anchor", "issue"]

_BATCHES = 2


def anchor(
    _: type[TriggerSet],
    owner: Owner,
    *,
    example: Any,
    classes: int | Iterable[str],
    authority: Authority | TrustedAuthority | None,
    model: nn.Module | None = None,
    label: str = "model",
    vocabulary: tuple[int, int] | None = None,
    family: str | None = None,
    batches: int = _BATCHES,
    count: int | None = None,
) -> Anchoring:
    """Fix the rule of a trigger set in an anchor that an authority dates before any trigger exists.

    There are as many triggers as an undated claim needs: another judge may not trust the
    authority.

    Args:
        owner: whose key it will be.
        example: as of `issue`, like all options that follow.
        classes: how many, or their names in output order.
        authority: whose timestamp counts; None leaves the anchor without one.
        model: if given, the anchor commits to its weights as they are.
        label: the owner's name for this model.
        vocabulary: of tokens.
        family: how triggers are drawn.
        batches: how many batches.
        count: triggers of one batch.

    Returns:
        The anchor, waiting for its token.

    Raises:
        OptionError: the example's form is not known, or an option is out of range.
    """
    require_text("label", label)
    names = () if isinstance(classes, int) else tuple(classes)
    for name in names:
        require_text("classes", name)
    rule = trigger_rule(
        form_of(example, vocabulary),
        classes if isinstance(classes, int) else len(names),
        family=family,
        batches=batches,
        count=count,
    )
    weights_root, architecture = (None, None) if model is None else digests_of(model)
    seed, public_key = owner.seed(label), owner.identity.public_key
    fixed = Anchor(
        identity=public_key.hex(),
        seed_commitment=seed_commitment(seed, public_key),
        weights_root=weights_root,
        architecture=architecture,
        planner=None,
        targets=(),
        classes=names,
        passport=None,
        triggers=rule,
        authority=authority.authority if isinstance(authority, TrustedAuthority) else authority,
    )
    return Anchoring.of(owner, fixed, label)


def issue(
    cls: type[TriggerSet],
    owner: Owner,
    *,
    example: Any,
    classes: int | Iterable[str] | None = None,
    anchor: Anchoring | None = None,
    model: nn.Module | None = None,
    label: str = "model",
    vocabulary: tuple[int, int] | None = None,
    family: str | None = None,
    batches: int = _BATCHES,
    count: int | None = None,
    prepare: Prepare | None = None,
    training: TriggerTraining | None = None,
) -> TriggerSet:
    """Fix the rule in an anchor and derive the triggers from the key.

    A model that gets a passport as well wants one anchor for both: see
    ``Passport.issue(triggers=...)``.

    Args:
        cls: TriggerSet.
        owner: whose key it is.
        example: some inputs of the model: images ``(N, C, H, W)``, points ``(N, P, 3)`` or
            ``(N, 3, P)``, sound ``(N, L)`` or ``(N, 1, L)``, tokens ``(N, L)`` as integers
            (or a mapping with ``input_ids``). Only their form counts.
        classes: how many, or their names in output order, to be committed to.
        anchor: an anchor with its token, made by `TriggerSet.anchor`; it has fixed all other
            options but ``prepare`` and ``training``. None makes one without a timestamp.
        model: if given, the anchor commits to its weights as they are.
        label: the owner's name for this model; every model needs its own.
        vocabulary: of tokens: the first ordinary number and the one after the last.
        family: how triggers are drawn; None takes the default for the form.
        batches: how many batches; each is opened alone.
        count: triggers of one batch; None for at least 64 and twice as many as a perfect mark
            needs. With two classes more of them keep a weakened mark in sight.
        prepare: how canonical integers become the model's input, for example
            ``Preparation(mean=..., std=...)``; None takes ``example``'s layout and no more.
        training: how the model learns them; None for the defaults.

    Returns:
        The trigger set.

    Raises:
        OptionError: the example's form is not known, an option is out of range, or inputs of
            this form hold so little that triggers repeat; or the anchor is of another model, or
            has fixed an option already.
        EvidenceError: the anchor is another owner's, or its token is not there yet.
    """
    if anchor is None:
        if classes is None:
            raise OptionError("triggers are labelled with classes: give classes=...")
        anchor = cls.anchor(
            owner,
            example=example,
            classes=classes,
            authority=None,
            model=model,
            label=label,
            vocabulary=vocabulary,
            family=family,
            batches=batches,
            count=count,
        )
    else:
        given = {
            "classes": classes is not None,
            "label": label not in ("model", anchor.label),
            "vocabulary": vocabulary is not None,
            "family": family is not None,
            "batches": batches != _BATCHES,
            "count": count is not None,
        }
        anchor.require_left_alone(name for name, chosen in given.items() if chosen)
        _require_fits(anchor, owner, model)
    manifest = TriggerManifest(anchor=anchor.anchor, label=anchor.label, token=anchor.token_text())
    made = cls(owner, manifest, prepare or preparation_of(example), training)
    made.require_distinct()
    return made


def _require_fits(anchoring: Anchoring, owner: Owner, model: nn.Module | None) -> None:
    fixed = anchoring.anchor
    if fixed.triggers is None or fixed.passport is not None:
        raise OptionError("this anchor is not one of a trigger set alone")
    anchoring.require_owner(owner)
    if model is not None and fixed.weights_root is None:
        raise OptionError("model=...: this anchor commits to no model; leave it out")
    if model is not None:
        require_weights(model, fixed)
