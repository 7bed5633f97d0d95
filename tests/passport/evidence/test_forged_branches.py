"""Level 2 under forged claims, states and statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from modeldeed import JudgeData, Verdict, models, verify
from modeldeed.anchor import PassportRule, Target
from modeldeed.errors import EvidenceError
from modeldeed.results import Support
from tests.passport.forging import (
    CLAIMANT,
    OWNER,
    Victim,
    changed,
    claimed,
    raw_safetensors,
    victim_labels,
    with_state,
)
from tests.passport.hosts import digits_like

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
