"""Issuing a passport: plan it, refuse or fix everything in an anchor, before any secret exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from torch import nn
from typing_extensions import Unpack

from modeldeed.anchor import Anchor, PassportRule, ProbeInput, require_text, seed_commitment
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.anchoring.weights import digests_of, require_weights
from modeldeed.errors import OptionError
from modeldeed.owner import Owner
from modeldeed.passport import triggered
from modeldeed.passport.evidence.coloured import factors_root, require_factors
from modeldeed.passport.evidence.factors import chosen_factors
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.message import commit_message
from modeldeed.passport.host.plan import PLANNER_VERSION, Plan, Selector, make_plan
from modeldeed.passport.host.self_check import require_sound
from modeldeed.passport.private.step import TrainingRule
from modeldeed.timestamping import Authority, TrustedAuthority
from modeldeed.triggers.training import TriggerOptions

if TYPE_CHECKING:
    from modeldeed.passport.passport import Passport

__all__ = ["DEFAULT_HEAD", "PassportOptions", "anchor", "issue"]

DEFAULT_HEAD = "keyed"


class PassportOptions(TypedDict, total=False):
    """What an anchor fixes, by the names and with the meaning of `Passport.issue`."""

    label: str
    targets: Selector | Iterable[Selector] | None
    exclude: Selector | Iterable[Selector] | None
    classes: Iterable[str] | int
    head: str
    rows: str
    message: str | None
    reading: str
    probes: Any
    triggers: bool | TriggerOptions


_DEFAULTS: PassportOptions = {
    "label": "model",
    "targets": None,
    "exclude": None,
    "classes": (),
    "head": DEFAULT_HEAD,
    "rows": "keyed",
    "message": None,
    "reading": "weights",
    "probes": None,
    "triggers": False,
}


def anchor(
    _: type[Passport],
    model: nn.Module,
    owner: Owner,
    *,
    example: Any,
    authority: Authority | TrustedAuthority | None,
    batch_dim: int = 0,
    **options: Unpack[PassportOptions],
) -> Anchoring:
    """Fix a passport in an anchor that an authority dates before the key exists.

    An anchored claim pays for 2²⁰ keys tried beforehand instead of 2⁶⁴, where a judge trusts the
    authority. Send `Anchoring.request`, let it `Anchoring.accept` the answer, then issue with
    ``anchor=...`` on the same weights.

    Args:
        model: the host as it is before marking; not changed.
        owner: whose key it will be.
        example: a small batch of the host's input.
        authority: whose timestamp counts; None leaves the anchor without one.
        batch_dim: which dimension of the example is the batch, for triggers.
        options: those of `issue`, with the same meaning; all are fixed here.

    Returns:
        The anchor, waiting for its token.

    Raises:
        PlanError: the host has no usable norm, or one that cannot be kept apart.
        OptionError: an option is out of range, or the message does not fit into the bits.
    """
    return _fixed(model, owner, example, authority, batch_dim, {**_DEFAULTS, **options})[1]


def issue(
    cls: type[Passport],
    model: nn.Module,
    owner: Owner,
    *,
    example: Any,
    anchor: Anchoring | None = None,
    label: str = "model",
    targets: Selector | Iterable[Selector] | None = None,
    exclude: Selector | Iterable[Selector] | None = None,
    classes: Iterable[str] | int = (),
    head: str = DEFAULT_HEAD,
    rows: str = "keyed",
    message: str | None = None,
    reading: str = "weights",
    probes: Any = None,
    training: TrainingRule | None = None,
    triggers: bool | TriggerOptions = False,
) -> Passport:
    """Plan a passport, fix everything in an anchor, and derive the secrets from the key.

    Call it on the model as it is before marking: the anchor commits to these weights, and
    with them to the order of channels.

    Args:
        cls: Passport.
        model: the host; not changed.
        owner: whose key it is.
        example: a small batch of the host's input; its shapes, types and, of integers, its
            largest value are fixed as well: what an aligned reading probes with.
        anchor: an anchor with its token, made by `Passport.anchor` for these weights; it has
            fixed all other options but ``training``, and how ``triggers`` are trained. None
            makes one without a timestamp.
        label: the owner's name for this model; every model needs its own.
        targets: see `plan`; leave it alone unless you must, every norm counts.
        exclude: see `plan`.
        classes: names of the classes in output order, to be committed to; or, for triggers,
            how many there are.
        head: ``"keyed"`` (no free parameters) or ``"learned"`` (the published one).
        rows: ``"shared"`` reproduces the published passports, which can be read and removed
            without the key; never ship a model marked so.
        message: a short text to be written into the bits, for example ``"© Acme 2026"``;
            `modeldeed.passport.message.capacity` says how many bytes some bits hold.
        reading: how a bit is read: from ``"weights"``, or ``"coloured"``: where the inputs
            of a layer vary; see `modeldeed.passport.evidence.coloured`.
        probes: some hundred inputs of the host, for a coloured reading; 8-bit samples of
            what its layers make of them are kept in the passport's folder. None takes
            published random images.
        training: how to train; None for the defaults.
        triggers: fix the rule of a trigger set in the same anchor, so that the model can be
            recognized by its answers as well; True or options, see
            `modeldeed.triggers.TriggerOptions`. They need ``classes``, and are learned along
            by `joint_loss` and `embed`.

    Returns:
        The passport.

    Raises:
        PlanError: the host has no usable norm, or one that cannot be kept apart.
        OptionError: an option is out of range, or the message does not fit into the bits; or the
            anchor is of other weights, or has fixed an option already.
        EvidenceError: the anchor is another owner's, or its token is not there yet.
    """
    training = training or TrainingRule()
    options: PassportOptions = {
        "label": label,
        "targets": targets,
        "exclude": exclude,
        "classes": classes,
        "head": head,
        "rows": rows,
        "message": message,
        "reading": reading,
        "probes": probes,
        "triggers": triggers,
    }
    if anchor is None:
        plan, made = _fixed(model, owner, example, None, training.batch_dim, options)
    else:
        plan, made = _planned_again(model, owner, example, anchor, options), anchor
    shown = triggered.sample_of(example, training.batch_dim) if made.anchor.triggers else None
    learned = triggered.options_beside(made.anchor.triggers, triggers, shown)
    passport = cls(model, owner, _manifest(made, plan), training, made.factors, learned)
    if passport.triggers is not None:
        passport.triggers.require_distinct()
    require_sound(passport.branch, example)
    return passport


def _fixed(
    model: nn.Module,
    owner: Owner,
    example: Any,
    authority: Authority | TrustedAuthority | None,
    batch_dim: int,
    options: PassportOptions,
) -> tuple[Plan, Anchoring]:
    """Plan, and put everything into an anchor."""
    shown = triggered.sample_of(example, batch_dim) if options["triggers"] else None
    chosen = triggered.chosen_options(options["triggers"], shown)
    names, count = triggered.class_names(options["classes"], chosen)
    label, message = options["label"], options["message"]
    require_text("label", label)
    for name in names:
        require_text("classes", name)
    plan = make_plan(model, example, targets=options["targets"], exclude=options["exclude"])
    plan.require_usable()
    factors = chosen_factors(model, plan.targets, options["reading"], example, options["probes"])
    if factors is not None and message is not None:
        raise OptionError(
            "a message is written into weights as they are; it needs reading='weights'"
        )
    root = None if factors is None else factors_root(factors)
    seed, public_key = owner.seed(label), owner.identity.public_key
    weights_root, architecture = digests_of(model)
    fixed = Anchor(
        identity=public_key.hex(),
        seed_commitment=seed_commitment(seed, public_key),
        weights_root=weights_root,
        architecture=architecture,
        planner=PLANNER_VERSION,
        targets=plan.targets,
        excluded=plan.excluded,
        classes=names,
        passport=PassportRule.checked(head=options["head"], rows=options["rows"], factors=root),
        triggers=None if chosen is None else triggered.rule_of(shown, count, chosen),
        message=None if message is None else commit_message(message, plan.bits, seed, public_key),
        authority=authority.authority if isinstance(authority, TrustedAuthority) else authority,
        probes=ProbeInput.of(example, batch_dim),
    )
    return plan, Anchoring.of(owner, fixed, label, message=message, factors=factors)


def _planned_again(
    model: nn.Module,
    owner: Owner,
    example: Any,
    anchoring: Anchoring,
    options: Mapping[str, Any],
) -> Plan:
    """The plan that an anchor fixed, made anew on the model."""
    fixed = anchoring.anchor
    if fixed.passport is None:
        raise OptionError("this anchor holds no passport")
    anchoring.require_owner(owner)
    own = {"triggers", *(["label"] if options["label"] == anchoring.label else [])}
    defaults: Mapping[str, Any] = _DEFAULTS
    anchoring.require_left_alone(
        name for name in sorted(set(options) - own) if not _is(options[name], defaults[name])
    )
    require_weights(model, fixed)
    if not isinstance(fixed.passport.reading, str):
        require_factors(anchoring.factors or {}, fixed.passport.reading.factors, fixed.targets)
    excluded = set(fixed.excluded)
    plan = make_plan(model, example, exclude=lambda name, _: name in excluded)
    if (plan.targets, plan.excluded) != (fixed.targets, fixed.excluded):
        raise OptionError(
            "the plan for this model and example is not the one in the anchor; give the example "
            "that the anchor was made with, or anchor anew"
        )
    return plan


def _is(value: Any, default: Any) -> bool:
    """Whether an option was left alone; values that compare in their own way were not."""
    return value is default or (isinstance(value, str | tuple) and value == default)


def _manifest(made: Anchoring, plan: Plan) -> Manifest:
    return Manifest(
        anchor=made.anchor,
        label=made.label,
        token=made.token_text(),
        calls={entry.target.norm: entry.calls for entry in plan.planned},
        message=made.record.message,
    )
