"""Forged claims: a test passes when what a claimant tries fails."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from modeldeed import JudgeData, Owner, Verdict, models, verify
from modeldeed.anchor import Anchor, PassportRule, Target, seed_commitment
from modeldeed.errors import EvidenceError, ModelDeedError
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.passport.evidence.signature import layer_secrets, project
from modeldeed.results import Support
from modeldeed.statistics import LN2, log_binomial_tail
from modeldeed.suspects import open_weights
from tests.passport.forging import (
    CLAIMANT,
    OWNER,
    STEM,
    Victim,
    changed,
    claimed,
    refused_or_judged,
    with_state,
)
from tests.passport.hosts import digits_like

# --- nothing can be chosen ---


def test_a_read_off_passport_has_no_place_to_be_put(victim: Victim, tmp_path: Path) -> None:
    """Choosing P, or b = sign(c r), after seeing the suspect fits every bit, and counts nothing."""
    manifest = claimed(list(victim.passport.manifest.anchor.targets))
    layers = load_layers(open_weights(victim.unmarked), manifest.anchor.targets)
    key = manifest.model_key(CLAIMANT)
    fitted: dict[str, Tensor] = {}
    for ordinal, layer in enumerate(layers):
        secrets = layer_secrets(key, ordinal, layer.target)
        r = project(layer.weight, secrets.passports[0], layer.target.axis)
        fitted[f"bits.{ordinal}"] = (r * layer.scale_sign).sign().to(torch.int8)
        fitted[f"passport.{ordinal}.gamma"] = layer.weight.sign().to(torch.int8)
    folder = victim.claim(
        tmp_path / "own", CLAIMANT, **{n: getattr(manifest.anchor, n) for n in Anchor.model_fields}
    )
    forged = with_state(folder, tmp_path / "forged", save(fitted), CLAIMANT)
    report = verify(victim.unmarked, passport=forged, owner=CLAIMANT)
    assert report == verify(victim.unmarked, passport=folder, owner=CLAIMANT)
    assert report.verdict is Verdict.NOT_VERIFIED
    for path in ("", "anchor", "anchor.passport", "anchor.targets.0"):
        fields = json.loads(manifest.to_json())
        place: Any = fields
        for part in filter(None, path.split(".")):
            place = place[int(part) if part.isdigit() else part]
        place["bits"] = [1, -1]
        with pytest.raises(EvidenceError, match=r"malformed at .*bits"):
            Manifest.from_json(json.dumps(fields).encode())


def test_claimed_statistics_change_nothing(victim: Victim, tmp_path: Path) -> None:
    """Statistics fitted to the public branch are in the folder; neither level looks at them."""
    path = next(victim.folder.glob("state-*.safetensors"))
    state = load_file(path)
    for name, tensor in state.items():
        if name.startswith("statistics.") and tensor.is_floating_point():
            norm, _, which = name.removeprefix("statistics.").rpartition(".")
            state[name] = victim.host.get_buffer(f"{norm}.running_{which}").clone() + 3
    forged = with_state(victim.folder, tmp_path / "forged", save(state))
    x = digits_like(32)
    data = JudgeData(x, x, torch.arange(32) % 10)
    reports = [
        verify(
            victim.host.state_dict(), passport=folder, owner=OWNER, model=models.resnet_small(),
            data=data, decoys=2, decoy_seed=0,
        )
        for folder in (victim.folder, forged)
    ]  # fmt: skip
    first, second = (report.model_dump(exclude={"branch": {"seconds"}}) for report in reports)
    assert first == second


def test_heads_of_the_claimants_choice_speak_for_nobody(victim: Victim, tmp_path: Path) -> None:
    """A keyed head is a set of buffers: a state file could bring fitted ones."""
    state = {
        f"head.{name}": tensor.clone()
        for name, tensor in victim.passport.branch.heads.state_dict().items()
    }
    for name, tensor in state.items():
        if name.endswith(("outer", "inner")):
            tensor.zero_()  # γ₁ = 1, β₁ = 0: whatever the key
        else:
            tensor.fill_(1)
    forged = with_state(victim.folder, tmp_path / "forged", save(state))
    x = digits_like(16)
    report = verify(
        victim.host.state_dict(), passport=forged, owner=OWNER, model=models.resnet_small(),
        data=JudgeData(x, x, torch.zeros(16, dtype=torch.int64)), decoys=2,
    )  # fmt: skip
    assert report.branch is not None
    assert report.branch.word is Support.UNINFORMATIVE


# --- other people's evidence ---


def test_a_victims_folder_signed_again_is_another_claim(victim: Victim, tmp_path: Path) -> None:
    public = CLAIMANT.identity.public_key
    identity_only = victim.claim(tmp_path / "a", CLAIMANT, identity=public.hex())
    with pytest.raises(EvidenceError, match="not the one this passport's anchor commits to"):
        verify(victim.host, passport=identity_only, owner=CLAIMANT)
    signed_only = victim.claim(tmp_path / "b", CLAIMANT)
    with pytest.raises(EvidenceError, match="altered"):
        verify(victim.host, passport=signed_only, owner=CLAIMANT)
    whole = victim.claim(
        tmp_path / "c",
        CLAIMANT,
        identity=public.hex(),
        seed_commitment=seed_commitment(CLAIMANT.seed("model"), public),
    )
    report = verify(victim.host, passport=whole, owner=CLAIMANT)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert 280 < report.signature.matches < 440


def test_an_own_key_on_the_victims_plan_is_never_verified(victim: Victim) -> None:
    report = verify(victim.host, passport=victim.folder, owner=CLAIMANT)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert 280 < report.signature.matches < 440


def test_naming_the_victims_identity_does_not_open_his_commitment(victim: Victim) -> None:
    impostor = Owner(bytes(range(60, 92)))
    impostor.identity = OWNER.identity
    with pytest.raises(EvidenceError, match="not the one this passport's anchor commits to"):
        verify(victim.host, passport=victim.folder, owner=impostor)


# --- after the fact ---


def mismatching(victim: Victim) -> tuple[Target, ...]:
    """The target list that leaves out every channel an unmarked model gets wrong."""
    anchor = victim.passport.manifest.anchor
    key = victim.passport.manifest.model_key(OWNER)
    targets = []
    for ordinal, layer in enumerate(load_layers(open_weights(victim.unmarked), anchor.targets)):
        secrets = layer_secrets(key, ordinal, layer.target)
        r = project(layer.weight, secrets.passports[0], layer.target.axis) * layer.scale_sign
        wrong = torch.nonzero(r * secrets.bits <= 0).flatten().tolist()
        targets.append(changed(layer.target, left_out=tuple(wrong)))
    return tuple(targets)


EDITS: dict[str, Callable[[Anchor], dict[str, Any]]] = {
    "class names": lambda a: {"classes": ("cat", "dog")},
    "excluded": lambda a: {"excluded": ("stem.norm",)},
    "fewer targets": lambda a: {"targets": a.targets[:-1]},
    "another order": lambda a: {"targets": a.targets[::-1]},
    "one channel less": lambda a: {
        "targets": (changed(a.targets[0], left_out=(0,)), *a.targets[1:])
    },
    "no scale": lambda a: {"targets": tuple(changed(t, affine=None) for t in a.targets)},
    "kind": lambda a: {"targets": (changed(a.targets[0], kind="group"), *a.targets[1:])},
    "side": lambda a: {"targets": (changed(a.targets[0], side="columns"), *a.targets[1:])},
    "head": lambda a: {"passport": PassportRule(head="skip")},
    "rows": lambda a: {"passport": PassportRule(head="keyed", rows="shared")},
    "weights": lambda a: {"weights_root": "3" * 64},
    "architecture": lambda a: {"architecture": "3" * 64},
    "planner": lambda a: {"planner": 2},
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_after_the_fact_changes_every_bit(
    victim: Victim, tmp_path: Path, edit: str
) -> None:
    """The owner himself, on his own marked model, loses the mark when he edits the anchor."""
    anchor = victim.passport.manifest.anchor
    folder = victim.claim(tmp_path / "edited", **EDITS[edit](anchor))
    try:
        report = verify(victim.host, passport=folder, owner=OWNER)
    except EvidenceError:
        return
    n, matches = report.signature.bits, report.signature.matches
    assert report.verdict is Verdict.NOT_VERIFIED
    assert abs(matches - n / 2) < 4 * math.sqrt(n) / 2


def test_leaving_out_what_does_not_match_draws_the_rest_anew(
    victim: Victim, tmp_path: Path
) -> None:
    targets = mismatching(victim)
    kept = sum(target.bits for target in targets)
    assert kept > 300, "enough to verify, had they stayed what they were"
    folder = victim.claim(tmp_path / "edited", targets=targets)
    report = verify(victim.unmarked, passport=folder, owner=OWNER)
    assert report.signature.bits == kept
    assert report.verdict is Verdict.NOT_VERIFIED
    assert abs(report.signature.matches - kept / 2) < 4 * math.sqrt(kept) / 2


# --- brute force, and the null under lists of the claimant's choice ---


def test_two_thousand_keys_find_no_more_than_chance_lets_them(victim: Victim) -> None:
    """A try is a new label; the best of N has p about 1/N, and 2⁶⁴ of them are paid for."""
    targets = victim.passport.manifest.anchor.targets[:4]
    layers = load_layers(open_weights(victim.unmarked), targets)
    bits = sum(target.bits for target in targets)
    tries = 2000
    best = max(
        matches_of(layers, claimed(list(targets), f"try {i}").model_key(CLAIMANT))
        for i in range(tries)
    )
    p = math.exp(log_binomial_tail(best, bits))
    assert 1e-3 / tries < p < 8 / tries  # either side with probability below 0.002
    assert log_binomial_tail(best, bits) / LN2 > -128 + 64


LISTS: dict[str, list[Target]] = {
    "one weight ten times": [STEM] * 10,
    "one weight along both axes": [
        changed(STEM, weight="stages.0.0.conv1.weight", shape=(16, 16, 3, 3), axis=axis)
        for axis in (0, 1)
    ],
    "one weight a row": [
        changed(STEM, weight=f"stem.norm.{name}", shape=(16,)) for name in ("weight", "bias")
    ] * 4,
    "a channel that is the whole tensor": [
        changed(STEM, channels=1, axis=1) for _ in range(40)
    ],
    "signs from the weights themselves": [
        changed(STEM, affine="stem.norm.weight", weight="stem.norm.weight", shape=(16,))
    ] * 4,
    "statistics for signs": [changed(STEM, affine="stem.norm.running_mean")] * 4,
    "half left out": [changed(STEM, left_out=tuple(range(8)))] * 8,
}  # fmt: skip


@pytest.mark.parametrize("rows", ["keyed", "shared"])
@pytest.mark.parametrize("name", LISTS)
def test_whatever_stands_in_the_list_the_bits_are_fair_and_independent(
    name: str, rows: str
) -> None:
    """Ties are fine as long as every target has bits of its own: the count stays binomial."""
    random = torch.Generator().manual_seed(0)
    suspect = {
        "stem.conv.weight": torch.randn(16, 1, 3, 3, generator=random),
        "stages.0.0.conv1.weight": torch.randn(16, 16, 3, 3, generator=random),
        "stem.norm.weight": torch.randn(16, generator=random),
        "stem.norm.bias": torch.randn(16, generator=random),
        "stem.norm.running_mean": torch.randn(16, generator=random),
    }
    layers = load_layers(open_weights(suspect), LISTS[name])
    n = sum(target.bits for target in LISTS[name])
    keys = decoy_keys(11, 1500)
    counts = torch.tensor([matches_of(layers, key, rows=rows) for key in keys]).double()
    assert abs(counts.mean() - n / 2) < 4 * math.sqrt(n / 4 / len(keys))
    # The standard error of a variance of N counts is about var · √(2/N).
    assert abs(counts.var() / (n / 4) - 1) < 4 * math.sqrt(2 / len(keys))


def test_ties_that_read_zero_only_cost_the_claimant() -> None:
    """Rows of equal weights and even D read exactly 0 often; that is a mismatch."""
    target = changed(STEM, channels=64, shape=(64, 2))
    layers = load_layers(open_weights({target.weight: torch.ones(64, 2)}), [target])
    counts = [matches_of(layers, key) for key in decoy_keys(12, 500)]
    assert sum(counts) / len(counts) / 64 == pytest.approx(0.25, abs=0.02)


def test_a_list_of_one_target_many_times_is_not_verified(victim: Victim) -> None:
    report = refused_or_judged(
        victim.unmarked, lambda: claimed([STEM] * 200, label="many"), CLAIMANT
    )
    assert report is None or report.verdict is Verdict.NOT_VERIFIED


def test_bits_that_are_copies_of_each_other_are_not_evidence(victim: Victim) -> None:
    """Eight layers of sixteen bits are eight coins when 15 columns of 16 are unreadable.

    The tensor of scales with a single entry ≠ 0 stands for any one in the suspect; the label was
    the 1,088th that was tried. "128 of 128 bits match."
    """
    suspect = victim.unmarked | {"scales": torch.eye(16)[3]}
    broadcasting = changed(STEM, shape=(16, 16, 1, 3, 3), affine="scales", norm="n")
    honest = changed(STEM, left_out=tuple(range(16)), norm="n")
    report = refused_or_judged(
        suspect, lambda: claimed([broadcasting] * 8 + [honest], "1087", rows="shared"), CLAIMANT
    )
    assert report is None or report.verdict is not Verdict.VERIFIED


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((16, 16, 1, 3, 3), id="more dimensions"),
        pytest.param((16,), id="fewer dimensions"),
        pytest.param((16, 2**40), id="a terabyte"),
    ],
)
def test_one_weight_in_two_shapes_is_refused(victim: Victim, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelDeedError):
        verify(
            victim.unmarked, passport=claimed([changed(STEM, shape=shape), STEM]), owner=CLAIMANT
        )
