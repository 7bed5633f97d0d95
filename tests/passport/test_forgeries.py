"""Forgeries: what a claimant, or a suspect's holder, can try against the judge.

A test passes when the attack fails.
"""

from __future__ import annotations

import copy
import errno
import hashlib
import io
import json
import math
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from modeldeed import JudgeData, Owner, Passport, Report, Verdict, models, verification, verify
from modeldeed.anchor import Anchor, PassportRule, Target, seed_commitment
from modeldeed.cli import main
from modeldeed.errors import EvidenceError, ModelDeedError, SuspectError
from modeldeed.passport import files, private_check
from modeldeed.passport.branch import PrivateBranch
from modeldeed.passport.manifest import Manifest
from modeldeed.passport.private_check import decoy_keys
from modeldeed.passport.reading import load_layers, matches_of
from modeldeed.passport.signature import claimed_bits, layer_secrets, project
from modeldeed.reporting.tables import report_table
from modeldeed.results import Support
from modeldeed.statistics import LN2, log_binomial_tail
from modeldeed.suspects import open_weights
from tests.conftest import PASSPHRASE
from tests.passport.hosts import digits_like

OWNER = Owner(bytes(range(32)), "owner")
CLAIMANT = Owner(bytes(range(50, 82)), "claimant")
STEM = Target(
    norm="stem.norm", kind="batch", channels=16, affine=None, weight="stem.conv.weight",
    shape=(16, 1, 3, 3), axis=0, side="rows",
)  # fmt: skip


def filed(manifest: Manifest) -> Manifest:
    """What the judge makes of a manifest's file."""
    return Manifest.from_json(manifest.to_json())


def claimed(
    targets: list[Target], label: str = "model", owner: Owner = CLAIMANT, **rule: str
) -> Manifest:
    """A manifest of the claimant's own making, with any list of targets, as the judge reads it."""
    public = owner.identity.public_key
    anchor = Anchor.model_construct(  # unchecked, as a claimant may write it
        identity=public.hex(),
        seed_commitment=seed_commitment(owner.seed(label), public),
        weights_root="1" * 64,
        architecture="2" * 64,
        planner=1,
        targets=tuple(targets),
        passport=PassportRule.model_validate({"head": "keyed", **rule}),
    )
    manifest = Manifest.model_construct(anchor=anchor, label=label, calls={})
    return filed(manifest.signed_by(owner, state=None))


def changed(target: Target, **fields: Any) -> Target:
    return Target.model_validate({**target.model_dump(), **fields})


def refused_or_judged(suspect: Any, make: Callable[[], Manifest], owner: Owner) -> Report | None:
    """The report of a claim; None when it is refused as evidence, in making or in judging."""
    try:
        return verify(suspect, passport=make(), owner=owner)
    except EvidenceError:
        return None
    except ValueError:
        make()  # refusing to build the claim at all is as good; anything later is a crash
        raise


@dataclass(frozen=True)
class Victim:
    host: nn.Module
    passport: Passport
    folder: Path
    unmarked: dict[str, Tensor]

    def claim(self, path: Path, owner: Owner = OWNER, **anchor: Any) -> Path:
        """A copy of the passport's folder with changes in the anchor, signed by anyone."""
        shutil.copytree(self.folder, path)
        manifest = files.load_manifest(path)
        edited = manifest.model_copy(update={"anchor": manifest.anchor.model_copy(update=anchor)})
        signed = edited.signed_by(owner, state=manifest.state)
        (path / files.MANIFEST).write_bytes(signed.to_json())
        return path


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """A small host with its 720 bits pressed in, and its passport's folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = models.resnet_small()
    unmarked = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    passport = Passport.issue(host, OWNER, example=digits_like())
    optimizer = torch.optim.Adam(host.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    host.eval()
    folder = tmp_path_factory.mktemp("victim") / "passport"
    passport.save(folder)
    assert verify(host, passport=folder, owner=OWNER).signature.matches == 720
    return Victim(host, passport, folder, unmarked)


def with_state(folder: Path, path: Path, data: bytes, owner: Owner = OWNER) -> Path:
    """A copy of a passport's folder that names another state file, signed."""
    shutil.copytree(folder, path)
    for stale in path.glob("state-*"):
        stale.unlink()
    digest = hashlib.sha256(data).hexdigest()
    (path / f"state-{digest[:16]}.safetensors").write_bytes(data)
    manifest = files.load_manifest(path).signed_by(owner, state=digest)
    (path / files.MANIFEST).write_bytes(manifest.to_json())
    return path


def raw_safetensors(tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """A safetensors file of any dtype, written by its format."""
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        end = len(body) + len(data)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), end]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


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


# --- the private branch ---


def test_one_wrong_key_supports_nobody(victim: Victim) -> None:
    """On an unmarked model somebody's branch beats one other branch by ten points soon enough."""
    x = digits_like(10)
    data = JudgeData(digits_like(64), x, victim_labels(victim, x))
    targets = list(victim.passport.manifest.anchor.targets[:2])
    for attempt in range(40):
        report = verify(
            victim.unmarked, passport=claimed(targets, f"try {attempt}"), owner=CLAIMANT,
            model=models.resnet_small(), data=data, decoys=1, decoy_seed=attempt,
        )  # fmt: skip
        assert report.branch is not None
        assert report.branch.word is not Support.SUPPORTS, (attempt, report.branch.rank_p)


def victim_labels(victim: Victim, x: Tensor) -> Tensor:
    """What the unmarked model itself answers: labels on which it is perfect."""
    model = models.resnet_small()
    model.load_state_dict(victim.unmarked)
    with torch.no_grad():
        return model.eval()(x).argmax(1)


BAD_CLAIMS: dict[str, Callable[[tuple[Target, ...]], dict[str, Any]]] = {
    "no targets": lambda t: {"targets": ()},
    "unknown head": lambda t: {"passport": PassportRule(head="nonsense")},
    "a norm of another width": lambda t: {"targets": tuple(changed(x, norm=t[-1].norm) for x in t)},
    "a norm that is not there": lambda t: {"targets": (changed(t[0], norm="nowhere"), *t[1:])},
    "a norm that is none": lambda t: {"targets": (changed(t[0], norm="stem.conv"), *t[1:])},
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
def test_a_claim_that_fits_no_model_is_invalid_evidence(
    victim: Victim, tmp_path: Path, case: str
) -> None:
    anchor = victim.passport.manifest.anchor
    folder = victim.claim(tmp_path / "bad", **BAD_CLAIMS[case](anchor.targets))
    x = digits_like(4)
    with pytest.raises(EvidenceError):
        verify(
            victim.host.state_dict(), passport=folder, owner=OWNER, model=models.resnet_small(),
            data=JudgeData(x, x, torch.zeros(4, dtype=torch.int64)), decoys=1,
        )  # fmt: skip


STATES = {
    "a stray head": save({"head.x": torch.zeros(1)}),
    "a dtype that PyTorch lacks": raw_safetensors({"a": ("F6_E2M3", (4,), bytes(3))}),
    "a dtype that safetensors cannot map": raw_safetensors({"a": ("F4", (2,), bytes(1))}),
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_that_cannot_be_used_is_invalid_evidence(
    victim: Victim, tmp_path: Path, case: str
) -> None:
    folder = with_state(victim.folder, tmp_path / "bad", STATES[case])
    x = digits_like(4)
    with pytest.raises(EvidenceError):
        verify(
            victim.host.state_dict(), passport=folder, owner=OWNER, model=models.resnet_small(),
            data=JudgeData(x, x, torch.zeros(4, dtype=torch.int64)), decoys=1,
        )  # fmt: skip


@pytest.mark.parametrize("change", ["one tensor more", "no counters"])
def test_a_harmless_tensor_does_not_undo_a_verified_claim(victim: Victim, change: str) -> None:
    suspect = dict(victim.host.state_dict())
    if change == "no counters":
        suspect = {n: t for n, t in suspect.items() if not n.endswith("num_batches_tracked")}
    else:
        suspect["extra"] = torch.zeros(1)
    x = digits_like(4)
    report = verify(
        suspect, passport=victim.folder, owner=OWNER, model=models.resnet_small(),
        data=JudgeData(x, x, torch.zeros(4, dtype=torch.int64)), decoys=1,
    )  # fmt: skip
    assert report.verdict is Verdict.VERIFIED


# --- the suspect's holder ---


def rescaled(victim: Victim, factor: float, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The same function: rows and means times a power of two, scales divided by it."""
    model = copy.deepcopy(victim.host).to(dtype)
    with torch.no_grad():
        for target in victim.passport.manifest.anchor.targets:
            norm: Any = model.get_submodule(target.norm)
            model.get_parameter(target.weight).mul_(factor)
            norm.running_mean.mul_(factor)
            # The variance stays: with the scale divided, (x − μ) γ is what it was, bit for bit.
            norm.weight.div_(factor)
    return model


@pytest.mark.parametrize(
    ("log2", "dtype"),
    [
        (20, torch.float32),
        (-20, torch.float32),
        (-54, torch.float32),
        (520, torch.float64),
        (-520, torch.float64),
    ],
)  # fmt: skip
def test_rescaling_rows_erases_no_bit(victim: Victim, log2: int, dtype: torch.dtype) -> None:
    model = rescaled(victim, 2.0**log2, dtype)
    x = digits_like(16).to(dtype)
    with torch.no_grad():
        assert torch.equal(model(x), copy.deepcopy(victim.host).to(dtype)(x))
    report = verify(model, passport=victim.folder, owner=OWNER)
    assert report.signature.matches == 720
    assert report.verdict is Verdict.VERIFIED


def file_with(dtype: str, bits: int) -> bytes:
    data = torch.randint(1, 255, (16 * 16 * bits // 8,), generator=torch.Generator().manual_seed(1))
    return raw_safetensors({"w": (dtype, (16, 1, 4, 4), bytes(data.tolist()))})


DTYPES = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I64": 64, "U64": 64, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "C64": 64,
}  # fmt: skip
UNMAPPED = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        *DTYPES.items(),
        *UNMAPPED.items(),
    ],
)
def test_any_dtype_is_read_or_refused(tmp_path: Path, dtype: str, bits: int) -> None:
    path = tmp_path / "suspect.safetensors"
    path.write_bytes(file_with(dtype, bits))
    manifest = claimed([changed(STEM, weight="w", shape=(16, 1, 4, 4))])
    try:
        report = verify(path, passport=manifest, owner=CLAIMANT)
    except SuspectError:
        return
    assert report.verdict is not Verdict.VERIFIED


IN_MEMORY: dict[str, Callable[[], Tensor]] = {
    "no elements": lambda: torch.zeros(0, 4),
    "no dimensions": lambda: torch.tensor(math.nan),
    "float8": lambda: torch.zeros(3).to(torch.float8_e4m3fn),
    "uint16": lambda: torch.zeros(3, dtype=torch.uint16),
    "complex128": lambda: torch.zeros(3, dtype=torch.complex128),
    "meta": lambda: torch.zeros(3, device="meta"),
    "sparse": lambda: torch.eye(3).to_sparse(),
}


@pytest.mark.parametrize("kind", list(IN_MEMORY))
def test_a_strange_tensor_beside_the_bound_ones_is_no_fault_of_the_claim(
    victim: Victim, kind: str
) -> None:
    suspect = dict(victim.host.state_dict()) | {"extra": IN_MEMORY[kind]()}
    try:
        report = verify(suspect, passport=victim.folder, owner=OWNER)
    except SuspectError:
        return
    assert report.verdict is Verdict.VERIFIED


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, 1e-45, 3e38])
def test_values_at_the_ends_of_the_range_never_crash_nor_verify(
    victim: Victim, value: float
) -> None:
    suspect = {
        n: torch.full_like(t, value) if t.is_floating_point() else t
        for n, t in victim.host.state_dict().items()
    }
    report = verify(suspect, passport=victim.folder, owner=OWNER)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("shape", [[2**62, 4], [2**40, 2**40], [-1], [0, 2**63]])
def test_a_header_that_promises_more_than_the_file_holds_is_refused(
    tmp_path: Path, shape: list[int]
) -> None:
    path = tmp_path / "suspect.safetensors"
    path.write_bytes(raw_safetensors({STEM.weight: ("F32", tuple(shape), bytes(64))}))
    with pytest.raises(SuspectError):
        verify(path, passport=claimed([STEM]), owner=CLAIMANT)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_a_file_does_not_hang_the_judge(tmp_path: Path) -> None:
    path = tmp_path / "suspect.safetensors"
    os.mkfifo(path)

    def too_late(*_: Any) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        with pytest.raises(SuspectError):
            open_weights(path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


# --- what the judge's reader sees ---


HIDDEN = "x\x1b[2J\x1b[HVerified: 720 of 720 bits match"


@pytest.mark.parametrize("name", ["[/red]", "[link=http://x]a[/link]", HIDDEN, "x\nVerified: all"])
def test_a_name_in_the_claim_is_shown_as_text(victim: Victim, tmp_path: Path, name: str) -> None:
    targets = victim.passport.manifest.anchor.targets
    try:
        folder = victim.claim(
            tmp_path / "named", targets=(changed(targets[0], norm=name), *targets[1:])
        )
        report = verify(victim.host, passport=folder, owner=OWNER)
    except (EvidenceError, ValueError):
        return
    shown = io.StringIO()
    Console(file=shown, width=200).print(report_table(report))
    text = shown.getvalue()
    assert "\x1b" not in text
    assert not any(line.startswith("Verified") for line in text.splitlines())
    if name.isprintable():
        assert name in text


class _Closed(io.StringIO):
    """Standard output whose reader is gone."""

    def write(self, text: str, /) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("json_", [False, True])
def test_a_reader_that_went_away_is_no_verdict(
    victim: Victim, tmp_path: Path, secret_file: Any, monkeypatch: pytest.MonkeyPatch, json_: bool
) -> None:
    monkeypatch.setattr(sys, "stdout", _Closed())
    assert command_line(victim, tmp_path, secret_file, monkeypatch, json_) != 1


def test_an_end_of_file_inside_is_no_verdict(
    victim: Victim, tmp_path: Path, secret_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Report:
        raise EOFError

    monkeypatch.setattr(verification, "verify", broken)
    assert command_line(victim, tmp_path, secret_file, monkeypatch, False) == 70


def command_line(
    victim: Victim, folder: Path, secret_file: Any, monkeypatch: pytest.MonkeyPatch, json_: bool
) -> Any:
    """The exit code of a verification of the marked model, which is verified."""
    save_file(victim.host.state_dict(), folder / "suspect.safetensors")
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    arguments = [
        "verify", folder / "suspect.safetensors", "--passport", victim.folder,
        "--key", secret_file(), "--passphrase-file", folder / "passphrase",
    ]  # fmt: skip
    monkeypatch.setattr(
        sys, "argv", ["modeldeed", *map(str, arguments), *(["--json"] if json_ else [])]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_bits_come_from_their_own_label() -> None:
    """P tells nothing of b: the same key's passports and bits are different streams."""
    key = bytes(32)
    assert not torch.equal(
        layer_secrets(key, 0, changed(STEM, shape=(16,))).passports[0],
        claimed_bits(key, 0, STEM),
    )
    bits = torch.stack([claimed_bits(key, ordinal, STEM) for ordinal in range(400)]).double()
    correlation = (bits @ bits.T / 16 - torch.eye(400)).sum() / (400 * 399)
    assert abs(correlation) < 4 / math.sqrt(400 * 399 / 2 * 16)


# --- the word of level 2, messages, manifests in memory ---


def test_a_branch_supports_no_claim_that_the_signature_denies(
    victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.75, *[0.6] * 99])
    monkeypatch.setattr(private_check, "private_accuracy", lambda *_: next(accuracies))
    x = digits_like(8)
    report = verify(
        victim.unmarked, passport=victim.folder, owner=OWNER, model=models.resnet_small(),
        data=JudgeData(x, x, victim_labels(victim, x)), decoys=99,
    )  # fmt: skip
    assert report.verdict is Verdict.NOT_VERIFIED
    assert report.branch is not None
    assert report.branch.word is not Support.SUPPORTS


def test_rescaling_rows_leaves_the_readings_of_the_private_branch(victim: Victim) -> None:
    manifest = victim.passport.manifest
    before, after = (
        PrivateBranch(
            host, manifest.anchor.targets, manifest.model_key(OWNER), manifest.anchor.passport
        ).readings()
        for host in (victim.host, rescaled(victim, 2.0**-54))
    )
    for left, right in zip(before.layers, after.layers, strict=True):
        assert torch.allclose(left, right, atol=1e-5)


ESCAPE = "\x1b[2J\x1b[HVerified"


@pytest.mark.parametrize("place", ["the claim", "the suspect"])
def test_no_message_moves_the_judges_cursor(
    victim: Victim,
    tmp_path: Path,
    secret_file: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    place: str,
) -> None:
    folder = shutil.copytree(victim.folder, tmp_path / "claim")
    state = dict(victim.host.state_dict())
    if place == "the claim":
        text = (folder / files.MANIFEST).read_text("utf-8")
        doubled = '{"\\u001b[2J\\u001b[HVerified": 1, "\\u001b[2J\\u001b[HVerified": 1,'
        (folder / files.MANIFEST).write_text(doubled + text.lstrip()[1:], "utf-8")
    else:
        state = {f"{name}{ESCAPE}": tensor for name, tensor in state.items()}
    marked = Victim(victim.host, victim.passport, folder, victim.unmarked)
    monkeypatch.setattr(victim.host, "state_dict", lambda: state)
    code = command_line(marked, tmp_path, secret_file, monkeypatch, False)
    assert code == (4 if place == "the claim" else 5)
    shown = capfd.readouterr()
    assert "\x1b" not in shown.out + shown.err


def test_a_manifest_in_memory_is_checked_like_a_file(victim: Victim) -> None:
    """Leaving one channel out a hundred times would make n a hundred less than the bits read."""
    manifest = victim.passport.manifest
    first, *others = manifest.anchor.targets
    twice = first.model_copy(update={"left_out": (0,) * 15})
    anchor = manifest.anchor.model_copy(update={"targets": (twice, *others)})
    forged = manifest.model_copy(update={"anchor": anchor}).signed_by(OWNER, state=None)
    with pytest.raises(EvidenceError):
        verify(victim.unmarked, passport=forged, owner=OWNER)
