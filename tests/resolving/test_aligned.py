"""The aligned reading as evidence: who is proven by it, and who is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modeldeed import Report, verify
from modeldeed.alignment import probe_seed
from modeldeed.attacks.invariance import (
    add_dummy_neurons,
    flip_signs,
    insert_layers,
    permute,
    scale,
)
from modeldeed.cli import main
from modeldeed.errors import OptionError
from modeldeed.resolving import Exhibit, resolve, suspect_digest
from modeldeed.resolving.results import StepStatus
from modeldeed.resolving.words import Presence, Standing, Void
from modeldeed.results import Verdict
from modeldeed.statistics import log_binomial_tail
from tests.resolving.conftest import World
from tests.resolving.world import (
    NONCE,
    Party,
    State,
    days,
    dispute,
    host,
    owner,
    saved,
)


def model_of(state: State) -> nn.Module:
    model = host(0)
    model.load_state_dict(state)
    return model.eval()


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X = torch.rand(2, 3, 10, 10, generator=drawn())


def composed(model: nn.Module) -> nn.Module:
    model = flip_signs(scale(model, X, generator=drawn(1)), X, generator=drawn(2))
    return permute(add_dummy_neurons(model, X, kind="split", generator=drawn(3)), X,
                   generator=drawn(4))  # fmt: skip


REWRITES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "permuted": lambda m: permute(m, X, generator=drawn()),
    "scaled and flipped": lambda m: permute(
        flip_signs(scale(m, X, generator=drawn(1)), X, generator=drawn(2)), X, generator=drawn(3)
    ),
    "dummies": lambda m: add_dummy_neurons(m, X, kind="clique", generator=drawn()),
    "inserted": lambda m: insert_layers(permute(m, X, generator=drawn()), generator=drawn(1)),
    "all": composed,
}


def verified(who: Party, suspect: nn.Module, world: World, folder: Path, **given: Any) -> Report:
    """`verify` with a deed, its reference and its exhibit; each can be given otherwise."""
    options: dict[str, Any] = {
        "deed": who.deed,
        "opening": who.deed.open(who.owner, suspect_digest(suspect), NONCE, marks=[who.manifest]),
        "reference": saved(who.state, folder / "reference.safetensors"),
        "unmarked": who.unmarked,
        "reference_model": host(0),
        "trust": world.trust,
        "nonce": NONCE,
        **given,
    }
    return verify(suspect, **options)


@pytest.mark.parametrize("name", REWRITES)
def test_rewritten_models_are_of_the_lineage(name: str, world: World, tmp_path: Path) -> None:
    suspect = REWRITES[name](model_of(world.acme.state)).eval()
    report = verified(world.acme, suspect, world, tmp_path)
    found, direct = report.aligned, report.require_signature()
    assert found is not None
    assert report.verdict is Verdict.VERIFIED
    assert report.reason.startswith("lineage: aligned to the registered reference, ")
    assert found.matches == found.bits == 192
    assert any("compare their dates" in warning for warning in report.warnings)
    assert (found.counts, found.unmatched) == (True, 0)
    # Both readings pay for both.
    assert found.threshold_log2 == direct.threshold_log2 == -85
    assert found.log2_p == -192
    assert found.log10_p_paid == pytest.approx(-171 * 0.30103, abs=1e-3)
    assert found.decoys.count == 999
    assert found.decoys.rank_p == 1e-3
    assert found.decoys.mean == pytest.approx(96, abs=1.5)
    seed = probe_seed(bytes.fromhex(world.acme.deed.digest), bytes.fromhex(suspect_digest(suspect)))
    assert found.probe_seed == seed.hex()
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_the_direct_reading_comes_first(world: World, tmp_path: Path) -> None:
    report = verified(world.acme, model_of(world.acme.state), world, tmp_path)
    assert (report.verdict, report.aligned) == (Verdict.VERIFIED, None)
    assert report.require_signature().threshold_log2 == -84
    moved = permute(model_of(world.acme.state), X, generator=drawn()).eval()
    unasked = verified(world.acme, moved, world, tmp_path / "2", unmarked=None,
                       reference_model=None)  # fmt: skip
    assert (unasked.verdict, unasked.aligned) == (Verdict.NOT_VERIFIED, None)
    assert any("read directly only" in warning for warning in unasked.warnings)


def test_independent_models_are_not_of_the_lineage(world: World, tmp_path: Path) -> None:
    """Matches of other models are at most those of a coin, and so are the wrong keys'.

    Rows that do not stand where the anchor has them are mismatches.
    """
    matches = []
    for seed in (40, 41):
        report = verified(world.acme, host(seed).eval(), world, tmp_path / str(seed))
        assert report.verdict is Verdict.NOT_VERIFIED
        assert "lineage" not in report.reason
        assert report.aligned is not None
        matches.append(report.aligned.matches)
        assert report.aligned.decoys.rank_p > 1e-3
    assert log_binomial_tail(sum(matches), 192 * 2) > -7


def test_a_reading_that_is_missing_something_is_inconclusive(world: World, tmp_path: Path) -> None:
    suspect = permute(model_of(world.acme.state), X, generator=drawn()).eval()
    moved = saved(suspect.state_dict(), tmp_path / "moved.safetensors")
    undated = Party("undated", owner(1), world.acme.state, world.acme.manifest,
                    type(world.acme.deed)(world.acme.deed.envelope, []), world.bare)  # fmt: skip
    world.plain.unmarked = None
    cases: list[tuple[Party, Any, dict[str, Any], str]] = [
        (undated, suspect, {}, "this one is undated"),
        (world.plain, suspect, {"align": True}, "only with an anchored deed"),
        (world.acme, suspect, {"trust": None}, "only with an anchored deed"),
        (world.acme, suspect, {"unmarked": None}, "the weights before marking, was not shown"),
        (world.acme, suspect, {"reference": None}, "own model was not given"),
        (world.acme, moved, {}, "no model code that fits the suspect"),
        (world.acme, suspect, {"reference_model": nn.Linear(2, 2)}, "that fits the reference"),
    ]
    for number, (who, model, given, reason) in enumerate(cases):
        report = verified(who, model, world, tmp_path / str(number), **given)
        assert (report.verdict, report.aligned) == (Verdict.INCONCLUSIVE, None), reason
        assert "an aligned reading is needed and could not be made" in report.reason
        assert reason in report.reason


def test_a_file_is_aligned_with_model_code(world: World, tmp_path: Path) -> None:
    moved = permute(model_of(world.acme.state), X, generator=drawn()).half()
    path = saved(moved.state_dict(), tmp_path / "moved.safetensors")
    report = verified(
        world.acme, path, world, tmp_path, model=host(5), reference_model=None  # type: ignore[arg-type]
    )  # fmt: skip
    assert report.verdict is Verdict.VERIFIED


def test_the_command_reads_aligned(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "acmenet.py").write_text(
        "from tests.resolving.world import host\n\ndef build():\n    return host(0)\n"
    )
    monkeypatch.chdir(tmp_path)
    moved = permute(model_of(world.acme.state), X, generator=drawn())
    suspect = saved(dict(moved.state_dict()), tmp_path / "moved.safetensors")
    claim = world.acme.hand_in(tmp_path / "claims", suspect)
    (tmp_path / "trust.json").write_bytes(world.trust.to_json())
    arguments = [
        "verify", "moved.safetensors", "--deed", str(claim), "--trust", "trust.json",
        "--opening", str(claim / "opening.json"), "--nonce", NONCE,
        "--reference", str(claim / "reference.safetensors"),
    ]  # fmt: skip
    exhibit = ["--unmarked", str(claim / "unmarked.safetensors")]
    for more, code in (([], 1), (exhibit, 3), ([*exhibit, "--model", "acmenet:build"], 0)):
        monkeypatch.setattr("sys.argv", ["modeldeed", *arguments, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
    shown = capsys.readouterr().out
    assert "lineage: aligned to the registered reference" in " ".join(shown.split())
    assert "the best of 999 matches" in " ".join(shown.split())


def test_an_owner_without_a_deed_sees_no_evidence(world: World) -> None:
    reference = model_of(world.acme.state)
    suspect = permute(reference, X, generator=drawn()).eval()
    claim: dict[str, Any] = {"passport": world.acme.manifest, "owner": owner(1)}
    report = verify(suspect, **claim, reference=reference, align=True)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "192 of 192 bits match" in report.reason
    assert report.reason.endswith("(not evidence: no dated deed)")
    assert report.aligned is not None
    assert (report.aligned.counts, report.aligned.unmatched) == (False, None)
    for wrong in ({"reference": reference}, {"align": True}, {"model": suspect}):
        with pytest.raises(OptionError):
            verify(suspect, **claim, **wrong)


def test_a_dispute_reads_aligned(world: World, tmp_path: Path) -> None:
    suspect = permute(model_of(world.acme.state), X, generator=drawn()).eval()
    options: dict[str, Any] = {"model": host(0), "suspect_date": days(20)}
    found = dispute(tmp_path / "1", [world.acme, world.other], suspect, world.trust, **options)
    claim = found.claim("acme")
    assert (claim.verdict, claim.presence) == (Verdict.VERIFIED, Presence.PRESENT)
    assert claim.reason.startswith("lineage: ")
    assert claim.aligned is not None
    assert claim.signature is not None
    assert claim.signature.threshold_log2 == -85
    (step,) = [s for s in found.steps if (s.number, s.claim) == (11, "acme")]
    assert step.status is StepStatus.DONE
    assert "wrong keys" in step.note
    assert [r.words for r in found.relations] == ["only acme", "unrelated"]
    # Younger than the suspect, it counts for nothing.
    late = dispute(tmp_path / "2", [world.acme], suspect, world.trust,
                   **{**options, "suspect_date": days(-20)})  # fmt: skip
    assert late.claim("acme").standing is Standing.LATER
    assert late.outcome is Verdict.NOT_VERIFIED


def test_a_suspect_of_another_form_is_read_in_a_dispute(world: World, tmp_path: Path) -> None:
    suspect = REWRITES["dummies"](model_of(world.acme.state)).eval()
    found = dispute(tmp_path, [world.acme], suspect, world.trust, model=host(0))
    assert found.outcome is Verdict.VERIFIED
    assert found.claim("acme").aligned is not None


def test_an_earlier_carrier_that_was_permuted_ends_a_claim(world: World, tmp_path: Path) -> None:
    older = permute(model_of(world.acme.state), X, generator=drawn()).state_dict()
    path = saved(dict(older), tmp_path / "older.safetensors")
    suspect = saved(world.acme.state, tmp_path / "suspect.safetensors")
    claim = world.acme.hand_in(tmp_path / "claims", suspect)
    found = resolve(
        [claim], suspect, nonce=NONCE, trust=world.trust, model=host(0),
        exhibits=[Exhibit(path, days(-30), name="older")], nulls=[host(50).eval()],
    )  # fmt: skip
    assert found.claim("acme").void is Void.EARLIER_CARRIER
    notes = [step.note for step in found.steps if step.number in (14, 15)]
    assert any("aligned 192 of 192 bits, older than the deed" in note for note in notes)
    assert any("null" in note and "absent, aligned " in note for note in notes)
    save_file(world.bare, tmp_path / "base.safetensors")
    base = Exhibit(tmp_path / "base.safetensors", days(-30), name="base")
    kept = resolve([claim], suspect, nonce=NONCE, trust=world.trust, model=host(0), exhibits=[base])
    assert kept.outcome is Verdict.VERIFIED
