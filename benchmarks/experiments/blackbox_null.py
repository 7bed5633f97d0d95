"""False positives of the black-box mark: keys of strangers on models that never saw a trigger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._blackbox_null_card import (
    ALPHA,
    LOG_ALPHA,
    BlackboxNull,
    Control,
    Cost,
    NullModel,
    render,
)
from benchmarks.experiments._canonical_inputs import form_of_data
from benchmarks.experiments._trigger_pairs import Mark, Victim, issued
from benchmarks.experiments._trigger_sweep import MARKS
from benchmarks.hosts import Host
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import query
from modeldeed.data import Dataset
from modeldeed.owner import Owner
from modeldeed.results import Verdict
from modeldeed.statistics import BLACK_BOX, LN2, LN10, log_e_path
from modeldeed.training import accuracy, train
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["Choices", "blackbox_null", "largest_log_e"]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a setting measures.

    Attributes:
        mark: the host, and how its marked models learn for the accuracy that triggers cost.
        epochs: of each null model.
        models: null models, each with a seed of its own.
        keys: for each of them, used for no other.
        surrogates: null models that keys are chosen on, for the controls.
        others: null models, among them the surrogates, that the choice is tried on.
        ground: keys to choose from.
        kept: the best of them.
        families: of triggers that are chosen from; None for the default.
    """

    mark: Mark
    epochs: int = 10
    models: int = 20
    keys: int = 50
    surrogates: int = 3
    others: int = 6
    ground: int = 1000
    kept: int = 10
    families: tuple[str | None, ...] = (None, "smooth/v1")

    @property
    def host(self) -> Host:
        """How null models are trained."""
        host = self.mark.host
        return replace(host, recipe=replace(host.recipe, epochs=self.epochs))

    def configuration(self) -> Values:
        """Everything about it, for the card."""
        found: Values = {**asdict(self), "mark": self.mark.configuration()}
        return {**found, "families": list(self.families), "alpha": ALPHA}


CHOICES: dict[str, Choices] = {"quick": Choices(mark=MARKS["quick"][0])}
_PARTS = ("null-models", "controls", "accuracy")


@experiment(
    "blackbox-null",
    "keys of strangers on unmarked models of the same data, and the accuracy that triggers cost",
    {"quick": Setting("digits: ten minutes on one core", _PARTS, (0, 1, 2))},
    table=render,
)
def blackbox_null(run: Run) -> Mapping[str, JsonValue]:
    """Ask null models; ask them by rules that are broken; compare marked models with their twins.

    The seeds of a run are those of the marked models; null models have seeds of their own.
    """
    choices = CHOICES[run.setting]
    run.configuration["all"] = choices.configuration()
    nulls = Nulls(choices, run)

    def cell(name: str, compute: partial[Values]) -> Values:
        return run.cell(name, choices.configuration(), compute)

    models, controls, costs = [], [], []
    if "null-models" in run.hosts:
        for number in range(choices.models):
            values = cell(f"null-model-{number}", partial(_asked, nulls, number))
            models.append(NullModel.model_validate(values))
    if "accuracy" in run.hosts:
        for seed in run.seeds:
            victim = Victim(choices.mark, seed, run)
            costs.append(Cost.model_validate(cell(f"accuracy-{seed}", partial(_cost, victim))))
    if "controls" in run.hosts:
        values = cell("controls", partial(_controls, nulls))
        controls = [Control.model_validate(value) for value in values["controls"]]  # type: ignore[union-attr]
    metrics = BlackboxNull.of(models, controls, costs)
    for doubt in _doubts(metrics):
        run.note(doubt)
    return metrics.model_dump(mode="json")


@dataclass
class Nulls:
    """The null models; each is trained when it is first asked for.

    Attributes:
        choices: of the setting.
        run: where they are trained.
    """

    choices: Choices
    run: Run
    _dataset: Dataset | None = None
    _made: dict[int, nn.Module] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """What they learn."""
        if self._dataset is None:
            self._dataset = self.choices.host.load(self.run.data_root, self.run.device)
        return self._dataset

    def seed(self, number: int) -> int:
        """Of a null model: of its start and the order of its samples."""
        return 1000 + number

    def get(self, number: int) -> nn.Module:
        """A null model, in evaluation mode."""
        if number not in self._made:
            host, seed = self.choices.host, self.seed(number)
            model = host.build(self.dataset, seed)
            for _ in train(
                model, self.dataset, replace(host.recipe, seed=seed), augment=host.augmentation
            ):
                pass
            self._made[number] = model.eval()
        return self._made[number]

    def claim(self, text: str, family: str | None = None) -> tuple[Owner, TriggerSet]:
        """A stranger and his triggers, by the whole derivation: secret, anchor, key."""
        owner = Owner(hashlib.sha256(f"modeldeed benchmark, {text}".encode()).digest(), "stranger")
        return owner, issued(self.dataset, owner, family=family)

    def answers(self, number: int, inputs: Tensor) -> Tensor:
        """A model's answers to canonical inputs, on the CPU."""
        model = self.get(number)
        with torch.no_grad():
            outputs = model(form_of_data(self.dataset).prepare(inputs))
        found: Tensor = outputs.argmax(1).cpu()
        return found


def largest_log_e(outcomes: NDArray[np.bool_], classes: int) -> float:
    """The largest ln E that a transcript ever had, wherever a judge would have stopped."""
    return float(log_e_path(outcomes, classes).max())


def _asked(nulls: Nulls, number: int) -> Values:
    choices, classes = nulls.choices, nulls.dataset.num_classes
    model = nulls.get(number)
    matches, heights = [], []
    for key in range(choices.keys):
        owner, triggers = nulls.claim(f"null model {number}, key {key}")
        batch = triggers.batch(0)
        outcomes = (nulls.answers(number, batch.inputs) == batch.labels).numpy()
        if key == 0:
            _require_agreement(model, triggers, owner, outcomes)
        matches.append(int(outcomes.sum()))
        heights.append(largest_log_e(outcomes, classes))
    data = nulls.dataset
    return NullModel(
        model=number,
        seed=nulls.seed(number),
        accuracy=accuracy(model, data.x_test, data.y_test),
        classes=classes,
        queries=len(outcomes),
        matches=tuple(matches),
        largest_log10_e=max(heights) / LN10,
        false_positives=sum(height >= LOG_ALPHA for height in heights),
        verified=_verified(heights),
    ).model_dump(mode="json")


def _verified(heights: list[float]) -> int:
    """How many reach what a claim without a timestamp must pay."""
    return sum(height >= BLACK_BOX.e_threshold_log2 * LN2 for height in heights)


def _require_agreement(
    model: nn.Module, triggers: TriggerSet, owner: Owner, outcomes: NDArray[np.bool_]
) -> None:
    """The judge's own query must see what is counted here."""
    report = query(model, triggers=triggers, owner=owner)
    seen = report.answers.batches[0].outcomes if report.answers else ()
    if not seen or list(seen) != outcomes[: len(seen)].tolist():
        raise AssertionError(f"the query saw {seen}, counted were {outcomes.tolist()}")
    if report.verdict is Verdict.VERIFIED:
        raise AssertionError("a stranger's key was verified by the judge's query")


def _cost(victim: Victim) -> Values:
    pair, data = victim.pair, victim.dataset
    return Cost(
        host=victim.mark.name,
        seed=victim.seed,
        plain_accuracy=accuracy(pair.plain, data.x_test, data.y_test),
        accuracy=accuracy(pair.marked, data.x_test, data.y_test),
        match_rate=pair.triggers.match_rate(pair.marked),
    ).model_dump(mode="json")


def _controls(nulls: Nulls) -> Values:
    found: list[Control] = []
    for family in nulls.choices.families:
        sets = [
            nulls.claim(f"key {key} to choose from", family)[1]
            for key in range(nulls.choices.ground)
        ]
        batches = [triggers.batch(0) for triggers in sets]
        labels = torch.stack([batch.labels for batch in batches])
        answers = {
            number: torch.stack([nulls.answers(number, batch.inputs) for batch in batches])
            for number in range(nulls.choices.others)
        }
        found += _controls_of(sets[0].rule.family, labels, answers, nulls)
    return {"controls": [control.model_dump(mode="json") for control in found]}


def _controls_of(
    family: str, labels: Tensor, answers: dict[int, Tensor], nulls: Nulls
) -> Iterator[Control]:
    """The right rule, a broken one, and keys that were chosen on a surrogate."""
    choices, classes = nulls.choices, nulls.dataset.num_classes
    surrogates = range(choices.surrogates)
    pairs = [(one, other) for one in surrogates for other in answers if other != one]
    # Every key meets one model, as in the experiment itself: its outcomes are independent.
    shares = torch.arange(len(labels)).chunk(len(pairs))
    met = list(zip(pairs, shares, strict=False))
    right = [answers[other][share] == labels[share] for (_, other), share in met]
    broken = [answers[other][share] == answers[one][share] for (one, other), share in met]
    best = {one: (answers[one] == labels).sum(1).topk(choices.kept).indices for one in surrogates}
    chosen = [answers[other][best[one]] == labels[best[one]] for one, other in pairs]
    on_surrogate = fmean(
        float((answers[one][best[one]] == labels[best[one]]).double().mean()) for one in surrogates
    )
    for rule, outcomes in (
        ("labels from the key", right),
        ("labels that another model predicts", broken),
        (f"best {choices.kept} of {len(labels)} keys on another model", chosen),
    ):
        matched = torch.cat(outcomes).numpy()
        heights = [largest_log_e(row, classes) for row in matched]
        yield Control(
            family=family,
            rule=rule,
            correct=outcomes is right,
            trials=len(matched),
            matches=tuple(int(row.sum()) for row in matched),
            queries=matched.shape[1],
            classes=classes,
            surrogate_rate=on_surrogate if outcomes is chosen else None,
            largest_log10_e=max(heights) / LN10,
            false_positives=sum(height >= LOG_ALPHA for height in heights),
            verified=_verified(heights),
        )


def _doubts(metrics: BlackboxNull) -> Iterator[str]:
    """What a reader of the card must not overlook."""
    if metrics.verified:
        yield f"{metrics.verified} strangers' keys were verified: the program is wrong"
    if metrics.rate_low > metrics.alpha:
        yield "false positives are more frequent than the bound: the program is wrong"
    if metrics.trials and min(metrics.ks_p, metrics.chi_square_p) < metrics.level:
        yield "matches of strangers' keys are not binomial: the program is wrong"
    for control in metrics.controls:
        if control.correct and control.ks_p < metrics.level:
            yield f"{control.family}, the correct rule: a KS p of {control.ks_p:.1e}"
        if control.rule.startswith("labels that") and control.ks_p >= metrics.level:
            yield f"{control.family}: the test did not notice a rule that is broken"
    if metrics.cost and metrics.cost_mean < -metrics.cost_allowed:
        yield (
            f"triggers cost {-100 * metrics.cost_mean:.2f} points of accuracy in the mean, more "
            f"than the {100 * metrics.cost_allowed:.1f} that are aimed at"
        )
