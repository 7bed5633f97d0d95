"""False positives: wrong keys on models that may be anything, and whether p-values are honest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from statistics import fmean

from pydantic import JsonValue
from torch import nn

from benchmarks.cells import Values
from benchmarks.experiments._false_positives_card import (
    Control,
    FalsePositives,
    ModelCell,
    render,
)
from benchmarks.experiments._suspects import RECIPE, SUSPECTS, Networks, Suspect
from benchmarks.experiments._wrong_readers import CORRECT, COUNTS, under_key
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import Owner, Verdict
from modeldeed.errors import OptionError
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.reading import (
    BoundLayer,
    judge_signature,
    load_layers,
    matches_of,
    read_signature,
)
from modeldeed.results import SignatureEvidence
from modeldeed.statistics import (
    Budget,
    log_binomial_tail,
    randomized_p_values,
    required_matches,
    uniformity_p_value,
)
from modeldeed.suspects import open_weights
from modeldeed.training import accuracy

__all__ = ["KEYS", "false_positives", "wrong_keys"]

KEYS = {"quick": 1_000, "standard": 10_000}
CONTROLLED = "all-positive"
"""Where a bit that hangs on its own passport shows most."""
CONTROLS = "controls"

_HOSTS = (*(suspect.name for suspect in SUSPECTS), CONTROLS)


@experiment(
    "false-positives",
    "wrong keys on marked, unmarked and degenerate models, and whether their p-values are honest",
    {
        "quick": Setting("1,000 keys a model: minutes on one core", _HOSTS, (0,)),
        "standard": Setting("10,000 keys a model: under half an hour on one core", _HOSTS, (0,)),
    },
    table=render,
)
def false_positives(run: Run) -> Mapping[str, JsonValue]:
    """Try wrong keys on every suspect, and broken readers on one of them.

    Raises:
        OptionError: no model was asked for.
    """
    keys = KEYS[run.setting]
    if run.hosts == (CONTROLS,):
        raise OptionError("--only leaves no model beside the controls; name one as well")
    models: list[ModelCell] = []
    controls: list[Control] = []
    for seed in run.seeds:
        networks = Networks(RECIPE, seed)
        for suspect in SUSPECTS:
            if suspect.name in run.hosts:
                compute = partial(_measure, suspect, networks, keys)
                values = _cell(run, suspect.name, seed, keys, compute)
                models.append(ModelCell.model_validate(values))
        if CONTROLS in run.hosts:
            compute = partial(_measure_controls, networks, keys)
            found = _cell(run, CONTROLS, seed, keys, compute)["controls"]
            controls += [Control.model_validate(value) for value in found]  # type: ignore[union-attr]
    metrics = FalsePositives.of(models, controls)
    for doubt in _doubts(metrics):
        run.note(doubt)
    return metrics.model_dump(mode="json")


def _cell(run: Run, name: str, seed: int, keys: int, compute: partial[Values]) -> Values:
    recipe = asdict(RECIPE)
    del recipe["seed"]
    choices: Values = {"keys": keys, "recipe": recipe, "budget": asdict(Budget())}
    run.configuration[name] = choices
    return run.cell(f"{name}-{seed}", {**choices, "seed": seed}, compute)


def wrong_keys(manifest: Manifest, seed: int, count: int) -> Iterator[bytes]:
    """Model keys of owners who would have made the same claim, each by his whole derivation.

    Args:
        manifest: the claim: its anchor is taken over but for identity and seed.
        seed: of the owners' master secrets, which anybody can make again.
        count: how many.

    Yields:
        32 bytes each; independent of those under any other anchor.
    """
    for number in range(count):
        text = f"modeldeed benchmark, wrong owner {number} of seed {seed}"
        yield manifest.wrong_key(Owner(hashlib.sha256(text.encode()).digest()))


def _measure(suspect: Suspect, networks: Networks, keys: int) -> Values:
    model, manifest = suspect.build(networks)
    anchor, budget = manifest.anchor, Budget()
    layers = load_layers(open_weights(model), anchor.targets)
    bits = sum(target.bits for target in anchor.targets)
    required = required_matches(bits, budget)
    if required is None:
        raise ValueError(f"{suspect.name}: no claim of {bits} bits could ever verify")
    tried = list(wrong_keys(manifest, networks.seed, keys))
    rows = anchor.passport_rule.rows
    matches = [matches_of(layers, key, rows=rows) for key in tried]
    best = tried[matches.index(max(matches))]
    _require_agreement(layers, best, max(matches), budget, rows)
    draws = _draws(suspect.name, networks.seed)
    randomized = randomized_p_values(matches, bits, seed=draws)
    plain = {m: math.exp(log_binomial_tail(m, bits)) for m in set(matches)}
    return ModelCell(
        model=suspect.name,
        seed=networks.seed,
        accuracy=_accuracy(model, networks) if suspect.network.trained else None,
        bits=bits,
        required=required,
        trials=len(matches),
        false_positives=sum(m >= required for m in matches),
        most_matches=max(matches),
        mean_matches=fmean(matches),
        side="two-sided" if suspect.two_sided else "one-sided",
        ks_p=uniformity_p_value(randomized, one_sided=not suspect.two_sided),
        readable_ks_p=None
        if suspect.two_sided
        else _readable_ks_p(
            [read_signature(layers, key, budget, rows=rows) for key in tried], draws
        ),
        plain_ks_p=uniformity_p_value([plain[m] for m in matches]),
    ).model_dump(mode="json")


def _readable_ks_p(readings: list[SignatureEvidence], seed: int) -> float:
    """Uniformity among readable bits: their number follows from passports alone, not from b."""
    readable = [r.bits - sum(layer.undecided for layer in r.layers) for r in readings]
    matches = [r.matches for r in readings]
    return uniformity_p_value(randomized_p_values(matches, readable, seed=seed))


def _require_agreement(
    layers: list[BoundLayer], key: bytes, matches: int, budget: Budget, rows: str
) -> None:
    """The whole reading of one key must count and judge as the quick one for many keys does."""
    evidence = read_signature(layers, key, budget, rows=rows)
    verified = judge_signature(evidence, budget)[0] is Verdict.VERIFIED
    wanted = evidence.required_matches is not None and matches >= evidence.required_matches
    if evidence.matches != matches or verified != wanted:
        raise AssertionError(
            f"matches_of counts {matches} matches, read_signature {evidence.matches}; "
            f"verified: {verified}"
        )


def _measure_controls(networks: Networks, keys: int) -> Values:
    suspect = next(suspect for suspect in SUSPECTS if suspect.name == CONTROLLED)
    model, manifest = suspect.build(networks)
    state = model.state_dict()
    counts: dict[str, list[tuple[int, int]]] = {name: [] for name in COUNTS}
    for key in wrong_keys(manifest, networks.seed, keys):
        found = under_key(state, manifest.anchor, key)
        for name, count in COUNTS.items():
            counts[name].append(count(found))
    seed = _draws(CONTROLS, networks.seed)
    return {
        "controls": [
            _control(name, found, seed).model_dump(mode="json") for name, found in counts.items()
        ]
    }


def _control(name: str, counts: list[tuple[int, int]], seed: int) -> Control:
    matches, bits = [m for m, _ in counts], counts[0][1]
    return Control(
        reader=name,
        correct=name == CORRECT,
        trials=len(matches),
        mean_rate=fmean(matches) / bits,
        ks_p=uniformity_p_value(randomized_p_values(matches, bits, seed=seed)),
    )


def _draws(name: str, seed: int) -> int:
    """The seed of a cell's uniform draws: fixed by its name, so nobody can try another."""
    return int.from_bytes(hashlib.sha256(f"{name} {seed}".encode()).digest()[:8], "little")


def _accuracy(model: nn.Module, networks: Networks) -> float:
    return accuracy(model, networks.dataset.x_test, networks.dataset.y_test)


def _doubts(metrics: FalsePositives) -> Iterator[str]:
    """What a reader of the card must not overlook."""
    if metrics.false_positives:
        yield f"{metrics.false_positives} wrong keys were verified: the program is wrong"
    if min(metrics.ks_p, metrics.ks_p_fisher) < metrics.level:
        yield "randomized p-values of wrong keys are not uniform: the program is wrong"
    for control in metrics.controls:
        if control.correct != (control.ks_p >= metrics.level):
            yield f"control '{control.reader}' has a KS p of {control.ks_p:.1e}: not as expected"
