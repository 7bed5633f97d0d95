"""Ablations: what every choice of the passport buys, one changed at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import torch
from pydantic import JsonValue
from torch import nn

from benchmarks.cells import Values
from benchmarks.experiments._ablation_card import Ablations, Measured, render
from benchmarks.experiments.fidelity import Judge
from benchmarks.hosts import QUICK, Host
from benchmarks.pairs import owner_for
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import Passport, TrainingRule
from modeldeed.data import Dataset
from modeldeed.passport.evidence.private_check import check_branch
from modeldeed.passport.passport import DEFAULT_HEAD
from modeldeed.passport.private.step import Schedule
from modeldeed.training import accuracy, train

__all__ = ["GROUPS", "Variant", "ablations", "host_for", "measure_plain", "train_variant"]

_JUDGE = Judge(images=1_000)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to mark.

    Attributes:
        name: how the table calls it.
        rule: how it is trained.
        head: kind of head.
        layers: which of the host's norms carry passports.
    """

    name: str
    rule: TrainingRule = field(default_factory=TrainingRule)
    head: str = DEFAULT_HEAD
    layers: str = "all"

    def configuration(self) -> dict[str, JsonValue]:
        """Everything about it, for the card."""
        return asdict(self)


def _schedule(
    share: float, interval: int, schedule: Schedule = "pair", *, signature_weight: float
) -> Variant:
    rule = TrainingRule(
        schedule=schedule, share=share, interval=interval, signature_weight=signature_weight
    )
    return Variant(name=f"{schedule}, share {share:g}, every {interval}", rule=rule)


def _rule(name: str, **changed: float) -> Variant:
    return Variant(name=name, rule=replace(TrainingRule(), **changed))  # type: ignore[arg-type]


_BOTH = TrainingRule(schedule="both", signature_weight=1)

# Where the branch is due more often, the signature weighs less: the pull over time is the same.
GROUPS: dict[str, tuple[Variant, ...]] = {
    "schedule": (
        Variant(name="default: pair, share 1, every 8"),
        _schedule(1, 4, signature_weight=4),
        _schedule(1, 16, signature_weight=16),
        _schedule(0.5, 4, signature_weight=4),
        _schedule(0.125, 1, signature_weight=1),
        _schedule(0.125, 1, "reuse", signature_weight=1),
        Variant(name="alternate", rule=TrainingRule(schedule="alternate", signature_weight=2)),
        Variant(name="both, as published", rule=_BOTH),
    ),
    "head": tuple(
        Variant(name=f"head {head}", head=head) for head in ("keyed-everywhere", "learned", "skip")
    ),
    "loss": (
        _rule("margin 3", margin=3),
        _rule("margin 8", margin=8),
        _rule("signature weight 2", signature_weight=2),
        _rule("signature weight 32", signature_weight=32),
        _rule("private weight 0.25", private_weight=0.25),
        _rule("private weight 1", private_weight=1),
        _rule("warm-up of 200 steps", warmup=200),
        _rule("signature alone", private_weight=0),
        _rule("private branch alone", signature_weight=0),
    ),
    "layers": tuple(
        Variant(name=name, layers=name) for name in ("first half", "last half", "every fourth")
    ),
}


@experiment(
    "ablations",
    "what each choice of the passport buys in accuracy and evidence",
    {
        "quick": Setting("ResNet on digits, minutes on two cores", tuple(GROUPS), (0,)),
        "standard": Setting(
            "narrow ResNet-18 on CIFAR-10, two hours on two cores", tuple(GROUPS), (0, 1, 2)
        ),
        "full": Setting("ResNet-18 on CIFAR-10, for a GPU", tuple(GROUPS), (0, 1, 2), gpu=True),
    },
    table=render,
)
def ablations(run: Run) -> Mapping[str, JsonValue]:
    """Measure every variant under every seed; the plain network comes with the first."""
    host = host_for(run.setting)
    if not run.has_data(host.name, host.data):
        return Ablations.of([], {}).model_dump(mode="json")
    dataset = host.load(run.data_root, run.device)
    run.configuration["host"] = host.configuration()
    variants = [variant for group in run.hosts for variant in GROUPS[group]]
    plain: dict[int, float] = {}
    cells: list[Measured] = []
    for seed in run.seeds:
        choices: Values = {"host": host.configuration(), "seed": seed}
        kept = run.cell(f"plain-{seed}", choices, partial(measure_plain, host, dataset, seed))
        plain[seed] = float(kept["accuracy"])  # type: ignore[arg-type]
        for variant in variants:
            name = f"{variant.name}-{seed}".replace(" ", "-").replace(",", "")
            asked: Values = {**choices, "variant": variant.configuration()}
            values = run.cell(name, asked, partial(_marked, host, dataset, seed, variant))
            cells.append(Measured.model_validate(values))
    run.configuration["variants"] = {v.name: v.configuration() for v in variants}
    return Ablations.of(cells, plain).model_dump(mode="json")


def host_for(setting: str) -> Host:
    """The network that is marked in every way."""
    digits, narrow = QUICK
    if setting == "quick":
        return replace(digits, recipe=replace(digits.recipe, epochs=15))
    if setting == "standard":
        return narrow
    recipe = replace(narrow.recipe, epochs=30)
    return replace(narrow, width=None, train=None, test=None, recipe=recipe)


def measure_plain(host: Host, dataset: Dataset, seed: int) -> Values:
    """Train a host without a passport.

    Returns:
        Its ``accuracy`` on the test part.
    """
    model = host.build(dataset, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        recipe = replace(host.recipe, seed=seed)
        for _ in train(model, dataset, recipe, augment=host.augmentation):
            pass
    return {"accuracy": accuracy(model.eval(), dataset.x_test, dataset.y_test)}


def _chosen(host: nn.Module, example: torch.Tensor, layers: str) -> list[str] | None:
    """Names of the norms that a variant marks; None for all."""
    if layers == "all":
        return None
    names = [target.norm for target in Passport.plan(host, example=example).targets]
    half = len(names) // 2
    cuts = {
        "first half": names[:half],
        "last half": names[half:],
        "every second": names[::2],
        "every fourth": names[::4],
        "every eighth": names[::8],
    }
    return cuts[layers]


def _marked(host: Host, dataset: Dataset, seed: int, variant: Variant) -> Values:
    model, passport, seconds = train_variant(host, dataset, seed, variant)
    return _examine(model, passport, dataset, seed, variant.name, seconds).model_dump(mode="json")


def train_variant(
    host: Host, dataset: Dataset, seed: int, variant: Variant
) -> tuple[nn.Module, Passport, float]:
    """Train a host with a passport.

    Args:
        host: what to train.
        dataset: its data, from `Host.load`.
        seed: of start, order and owner.
        variant: the way to mark it.

    Returns:
        The network in evaluation mode, its passport, and the seconds of its training.
    """
    model = host.build(dataset, seed)
    owner, example = owner_for(seed), dataset.x_train[:4]
    passport = Passport.issue(
        model,
        owner,
        example=example,
        classes=dataset.classes,
        head=variant.head,
        targets=_chosen(model, example, variant.layers),
        training=variant.rule,
    )
    recipe = replace(host.recipe, seed=seed)
    seconds = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for epoch in train(model, dataset, recipe, passport=passport, augment=host.augmentation):
            seconds += epoch.seconds
    return model.eval(), passport, seconds


def _examine(
    model: nn.Module, passport: Passport, dataset: Dataset, seed: int, name: str, seconds: float
) -> Measured:
    x, y = dataset.x_test, dataset.y_test
    with torch.no_grad():
        readings = passport.branch.readings()
        public = accuracy(model, x, y)
        private = accuracy(lambda inputs: passport.branch(inputs, readings), x, y)
        for norm, statistics in passport.branch.statistics.items():
            module = model.get_submodule(norm)
            statistics.mean = module.get_buffer("running_mean").clone()
            statistics.var = module.get_buffer("running_var").clone()
        shared = accuracy(lambda inputs: passport.branch(inputs, readings), x, y)
    heads = {name: value.detach() for name, value in passport.branch.heads.named_parameters()}
    branch = check_branch(
        model,
        passport.manifest.anchor,
        passport.manifest.model_key(owner_for(seed)),
        _JUDGE.data(dataset),
        heads=heads or None,
        decoys=_JUDGE.decoys,
        seed=seed,
    )
    signature = passport.signature()
    return Measured(
        variant=name,
        seed=seed,
        public_accuracy=public,
        private_accuracy=private,
        private_accuracy_shared_statistics=shared,
        private_accuracy_reestimated=branch.private_accuracy,
        decoy_accuracy_max=max(branch.decoys),
        signature_bits=signature.bits,
        signature_matches=signature.matches,
        median_margin=signature.median_margin or 0.0,
        seconds=seconds,
    )
