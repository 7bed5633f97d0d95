"""Disputes from beginning to end, and the words they come to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from modeldeed.deed import DerivedFrom
from modeldeed.passport.evidence.private_check import JudgeData
from modeldeed.resolving import Exhibit, Resolution, resolve
from modeldeed.resolving.results import StepStatus
from modeldeed.resolving.words import Order, Presence, Standing, Void
from modeldeed.results import Verdict
from modeldeed.trust import PublicBase, Revocation, Trust
from tests.resolving.conftest import World
from tests.resolving.world import (
    NONCE,
    Party,
    anchored,
    days,
    derived,
    dispute,
    host,
    issued,
    owner,
    party,
    planted,
    redated,
    saved,
    state_of,
    trusting,
)


def words(found: Resolution) -> list[str]:
    return [relation.words for relation in found.relations]


def verdicts(found: Resolution) -> dict[str, str]:
    return {claim.name: claim.verdict.value for claim in found.claims}


def cell(found: Resolution, claim: str, model: str) -> Presence:
    (one,) = [c for c in found.matrix if (c.claim, c.model) == (claim, model)]
    return one.presence


def test_one_claim(world: World, tmp_path: Path) -> None:
    found = dispute(tmp_path, [world.acme], world.acme.state, world.trust)
    claim = found.claim("acme")
    assert (found.outcome, found.reason) == (Verdict.VERIFIED, "the mark of acme is proven")
    assert words(found) == ["only acme"]
    assert claim.reason == "192 of 192 bits match, 166 are needed"
    assert (claim.anchored, claim.dated.word) == (True, "dated")
    assert claim.order == "192 of 192 rows of the reference fit their own anchor row best"
    assert claim.signature is not None
    assert claim.signature.log2_p == -192


def test_overwritten_by_a_second_claimant(world: World, tmp_path: Path) -> None:
    found = dispute(tmp_path, [world.beta, world.acme], world.beta.state, world.trust)
    assert verdicts(found) == {"acme": "verified", "beta": "verified"}
    assert words(found) == ["acme upstream of beta"]
    assert found.relations[0].claims == ("acme", "beta")
    assert "dated earlier" in found.relations[0].reason
    assert found.outcome is Verdict.VERIFIED
    assert cell(found, "acme", "beta") is Presence.PRESENT
    assert cell(found, "beta", "acme") is Presence.ABSENT


def test_dates_against_lineage_are_a_conflict(world: World, tmp_path: Path) -> None:
    """The downstream deed is dated first: both marks verify, and the words say what disagrees."""
    late = redated(world.acme, [(world.authorities[0], days(60)), (world.authorities[1], days(60))])
    found = dispute(tmp_path, [late, world.beta], world.beta.state, world.trust)
    assert verdicts(found) == {"acme": "verified", "beta": "verified"}
    assert words(found) == ["conflict"]
    assert found.outcome is Verdict.INCONCLUSIVE


def licensed(world: World, folder: Path, *, beside: bool) -> Party:
    """Beta's overwriting with acme's consent: in its deed, or beside it."""
    consent = world.acme.deed.license(world.acme.owner, world.beta.owner.identity, "MIT")
    origin = derived(world.acme)
    if not beside:
        origin = origin.model_copy(update={"countersignature": consent, "terms": "MIT"})
    made = party(
        folder,
        "beta",
        world.beta.owner,
        world.beta.state,
        world.beta.manifest,
        [(authority, days(30)) for authority in world.authorities],
        derived_from=[origin],
    )
    if beside:
        made.consents.append(consent)
    return made


@pytest.mark.parametrize("beside", [False, True])
def test_a_licensed_derivative(world: World, tmp_path: Path, beside: bool) -> None:
    made = licensed(world, tmp_path, beside=beside)
    found = dispute(tmp_path / "claims", [made, world.acme], made.state, world.trust)
    assert words(found) == ["acme upstream of beta, licensed"]
    assert found.outcome is Verdict.VERIFIED


def test_a_licence_for_somebody_else_is_none(world: World, tmp_path: Path) -> None:
    consent = world.acme.deed.license(world.acme.owner, owner(9).identity, "MIT")
    made = redated(world.beta, [(authority, days(30)) for authority in world.authorities])
    made.consents = [consent]
    found = dispute(tmp_path, [made, world.acme], made.state, world.trust)
    assert words(found) == ["acme upstream of beta"]


def test_owners_of_unrelated_models(world: World, tmp_path: Path) -> None:
    found = dispute(tmp_path, [world.other, world.acme], world.acme.state, world.trust)
    assert verdicts(found) == {"acme": "verified", "other": "not verified"}
    assert words(found) == ["only acme", "unrelated"]
    assert found.relations[1].claims == ("other",)
    assert found.outcome is Verdict.VERIFIED
    neither = dispute(tmp_path / "2", [world.other], world.acme.state, world.trust)
    assert (neither.outcome, words(neither)) == (Verdict.NOT_VERIFIED, ["unrelated"])


def test_a_merge_of_both(world: World, tmp_path: Path) -> None:
    mean = {n: (t + world.other.state[n]) / 2 for n, t in world.acme.state.items()}
    merged = planted(planted(mean, world.acme.manifest, owner(1)), world.other.manifest, owner(3))
    found = dispute(tmp_path, [world.acme, world.other], merged, world.trust)
    assert words(found) == ["both present, references independent (merge)"]
    assert found.outcome is Verdict.VERIFIED


def test_undated_claims(world: World, tmp_path: Path) -> None:
    """One alone is verified, with a warning; two cannot be ordered."""
    alone = dispute(tmp_path / "1", [world.plain], world.plain.state, Trust.empty())
    claim = alone.claim("plain")
    assert (alone.outcome, words(alone)) == (Verdict.VERIFIED, ["only plain"])
    assert (claim.dated.word, claim.anchored) == ("undated", False)
    assert "the deed is undated" in claim.warnings
    assert claim.signature is not None
    assert claim.signature.threshold_log2 == -128
    both = [redated(world.acme, []), redated(world.beta, [])]
    found = dispute(tmp_path / "2", both, world.beta.state, world.trust)
    assert verdicts(found) == {"acme": "verified", "beta": "verified"}
    assert (found.outcome, words(found)) == (Verdict.INCONCLUSIVE, ["order unknown"])


def test_overlapping_intervals_are_no_order(world: World, tmp_path: Path) -> None:
    close = redated(world.beta, [(a, days(1e-5)) for a in world.authorities])  # 0.86 s later
    found = dispute(tmp_path, [world.acme, close], world.beta.state, world.trust)
    assert found.dates[0].dates is Order.UNKNOWN
    assert words(found) == ["order unknown"]


def test_one_authority_is_flagged_and_a_stranger_is_none(world: World, tmp_path: Path) -> None:
    single = redated(world.acme, [(world.authorities[0], days(0))])
    found = dispute(tmp_path / "1", [single], world.acme.state, world.trust)
    assert found.claim("acme").dated.word == "dated, single authority"
    first = trusting(world.authorities[0])
    found = dispute(tmp_path / "2", [world.acme], world.acme.state, first)
    assert found.claim("acme").dated.word == "dated, single authority"
    assert any("not counted: 1" in warning for warning in found.claim("acme").warnings)


def test_a_compromised_key(world: World, tmp_path: Path) -> None:
    """What is proven older than the revocation counts; the rest is void."""
    key = world.beta.owner.identity.public_key.hex()

    def resolved(name: str, day: float, dates: Sequence[object]) -> Resolution:
        revoked = {key: Revocation(since=days(day), reason="key lost")}
        trust = trusting(*world.authorities, revoked=revoked)
        beta = redated(world.beta, dates)  # type: ignore[arg-type]
        return dispute(tmp_path / name, [world.acme, beta], world.beta.state, trust)

    dates = [(authority, days(30)) for authority in world.authorities]
    later = resolved("later", 40, dates)
    assert words(later) == ["acme upstream of beta"]
    for found in (resolved("before", 20, dates), resolved("undated", 40, [])):
        assert verdicts(found) == {"acme": "verified", "beta": "evidence invalid"}
        assert words(found) == ["void (forged)", "only acme"]
        assert "revoked" in found.claim("beta").reason
        assert found.outcome is Verdict.VERIFIED


# --- earlier carriers, dates of the suspect ---


def test_an_earlier_public_carrier_ends_the_claim(world: World, tmp_path: Path) -> None:
    old = saved(world.acme.state, tmp_path / "public.safetensors")
    shown = Exhibit(old, days(-30))
    found = dispute(tmp_path / "1", [world.acme], world.acme.state, world.trust, exhibits=[shown])
    claim = found.claim("acme")
    assert (claim.verdict, claim.void) == (Verdict.EVIDENCE_INVALID, Void.EARLIER_CARRIER)
    assert words(found) == ["void (earlier carrier)"]
    assert "public.safetensors" in claim.reason
    base = PublicBase(name="base", path=str(old), since=days(-30))
    trust = trusting(*world.authorities, public_bases=(base,))
    found = dispute(tmp_path / "2", [world.acme], world.acme.state, trust)
    assert words(found) == ["void (earlier carrier)"]


def test_a_carrier_is_dated_by_a_token_over_its_digest(world: World, tmp_path: Path) -> None:
    import hashlib

    old = saved(world.acme.state, tmp_path / "public.safetensors")
    imprint = hashlib.sha256(old.read_bytes()).digest()
    for day, wanted in ((-30, "void (earlier carrier)"), (30, "only acme")):
        token = world.authorities[1].token_at(imprint, days(day))
        shown = Exhibit(old, tokens=[token])
        found = dispute(
            tmp_path / str(day), [world.acme], world.acme.state, world.trust, exhibits=[shown]
        )
        assert words(found) == [wanted]


def test_later_and_undated_carriers_end_nothing(world: World, tmp_path: Path) -> None:
    old = saved(world.acme.state, tmp_path / "copy.safetensors")
    for number, day in enumerate((None, days(5))):
        found = dispute(
            tmp_path / str(number), [world.acme], world.acme.state, world.trust,
            exhibits=[Exhibit(old, day)],
        )  # fmt: skip
        assert words(found) == ["only acme"]
        assert cell(found, "acme", "copy.safetensors") is Presence.PRESENT


def test_a_carrier_with_an_overlapping_date_leaves_it_open(world: World, tmp_path: Path) -> None:
    old = saved(world.acme.state, tmp_path / "copy.safetensors")
    shown = [Exhibit(old, days(0).date())]
    found = dispute(tmp_path / "1", [world.acme], world.acme.state, world.trust, exhibits=shown)
    assert verdicts(found) == {"acme": "inconclusive"}


def test_a_model_without_the_mark_is_no_carrier(world: World, tmp_path: Path) -> None:
    old = saved(world.bare, tmp_path / "bare.safetensors")
    found = dispute(
        tmp_path / "1", [world.acme], world.acme.state, world.trust,
        exhibits=[Exhibit(old, days(-30))],
        nulls=[saved(world.other.state, tmp_path / "n.safetensors")],
    )  # fmt: skip
    assert words(found) == ["only acme"]
    assert {other.kind for other in found.others} == {"exhibit", "null"}


def test_a_null_model_with_the_mark_takes_its_meaning(world: World, tmp_path: Path) -> None:
    null = saved(world.acme.state, tmp_path / "null.safetensors")
    found = dispute(tmp_path / "1", [world.acme], world.acme.state, world.trust, nulls=[null])
    assert (found.outcome, words(found)) == (Verdict.INCONCLUSIVE, [])
    assert "null models carry the mark" in found.claim("acme").reason


@pytest.mark.parametrize(
    ("day", "standing", "verdict"),
    [
        (-1, Standing.LATER, "inconclusive"),
        (0, Standing.OPEN, "inconclusive"),
        (1, Standing.BEFORE, "verified"),
    ],
)
def test_a_deed_and_the_suspects_date(
    world: World, tmp_path: Path, day: int, standing: Standing, verdict: str
) -> None:
    found = dispute(tmp_path, [world.acme], world.acme.state, world.trust, suspect_date=days(day))
    claim = found.claim("acme")
    assert (claim.standing, claim.verdict.value) == (standing, verdict)
    assert claim.presence is Presence.PRESENT
    assert ("mark present, dated later" in claim.reason) == (standing is Standing.LATER)
    assert words(found) == ["only acme"]


# --- order of channels ---


def permuted(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same function with the first layer's channels in another order."""
    made = dict(state)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(5))
    made["0.weight"] = state["0.weight"][order]
    for name in ("weight", "bias", "running_mean", "running_var"):
        made[f"1.{name}"] = state[f"1.{name}"][order]
    made["3.weight"] = state["3.weight"][:, order]
    return made


def test_a_reference_in_another_order_than_its_anchor_is_void(world: World, tmp_path: Path) -> None:
    """Somebody permutes a model until it carries his bits, and registers that."""
    manifest = anchored(issued(world.bare, owner(7)), owner(7), world.authorities[0], days(-2))
    moved = planted(permuted(world.bare), manifest, owner(7), margin=3.0)
    made = party(tmp_path, "moved", owner(7), moved, manifest,
                 [(authority, days(1)) for authority in world.authorities])  # fmt: skip
    made.unmarked = world.bare
    found = dispute(tmp_path / "claims", [made, world.acme], world.acme.state, world.trust)
    assert found.claim("moved").void is Void.FORGED
    assert "channels were reordered after" in found.claim("moved").reason
    assert words(found) == ["void (forged)", "only acme"]


def test_a_permuted_suspect_waits_for_the_aligned_reading(world: World, tmp_path: Path) -> None:
    moved = permuted(permuted(world.acme.state))
    for name in ("3.weight", "6.weight"):
        moved[name] = moved[name].flip(0)
    found = dispute(tmp_path / "1", [world.acme], moved, world.trust)
    claim = found.claim("acme")
    assert (claim.verdict, claim.presence) == (Verdict.INCONCLUSIVE, Presence.UNDECIDED)
    assert "aligned reading is needed" in claim.reason
    (step,) = [s for s in found.steps if s.number == 11]
    assert step.status is StepStatus.UNAVAILABLE
    # An unanchored deed has none to wait for.
    late = dispute(tmp_path / "2", [world.plain], moved, world.trust)
    assert late.outcome is Verdict.NOT_VERIFIED


def test_an_exhibit_that_the_anchor_does_not_commit_to_is_void(
    world: World, tmp_path: Path
) -> None:
    wrong = redated(world.acme, [(authority, days(0)) for authority in world.authorities])
    wrong.unmarked = state_of(host(8))
    found = dispute(tmp_path, [wrong], world.acme.state, world.trust)
    assert (found.outcome, words(found)) == (Verdict.EVIDENCE_INVALID, ["void (forged)"])


def test_an_anchor_dated_after_its_deed_is_void(world: World, tmp_path: Path) -> None:
    early = redated(world.acme, [(authority, days(-5)) for authority in world.authorities])
    found = dispute(tmp_path, [early], world.acme.state, world.trust)
    assert "anchor is dated after the deed" in found.claim("acme").reason


def test_a_deed_names_its_origin_where_the_mark_was_lost(world: World, tmp_path: Path) -> None:
    """Beta's model was trained so long that acme's mark is gone; its deed says where it is from."""
    other = world.other
    origin = DerivedFrom(tensor_root=world.acme.deed.statement.tensor_root)
    dates = [(authority, days(30)) for authority in world.authorities]
    made = party(
        tmp_path, "beta", other.owner, other.state, other.manifest, dates, derived_from=[origin]
    )
    both = planted(dict(made.state), world.acme.manifest, world.acme.owner)
    both = planted(both, other.manifest, other.owner)
    found = dispute(tmp_path / "claims", [made, world.acme], both, world.trust)
    assert words(found) == ["acme upstream of beta"]
    assert "names the model of acme as its origin" in found.relations[0].reason


def test_level_two_stands_beside_level_one(world: World, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(24, 3, 10, 10, generator=generator)
    data = JudgeData(inputs[:12], inputs[12:], torch.arange(12) % 4)
    # Several architectures are given; the one that fits is taken.
    models = [torch.nn.Linear(2, 2), host(0)]
    suspect = saved(world.acme.state, tmp_path / "suspect.safetensors")
    claims = [world.acme.hand_in(tmp_path / "claims", suspect)]
    found = resolve(
        claims, suspect, trust=world.trust, nonce=NONCE, model=models, data=data, decoys=3
    )
    claim = found.claim("acme")
    assert claim.branch is not None
    assert (claim.verdict, len(claim.branch.decoys)) == (Verdict.VERIFIED, 3)
    (step,) = [s for s in found.steps if s.number == 12]
    assert step.note.startswith(f"{claim.branch.word.value} the claim")
    unfit = resolve(claims, suspect, trust=world.trust, nonce=NONCE, model=models[0], data=data)
    (step,) = [s for s in unfit.steps if s.number == 12]
    assert step.status is StepStatus.UNAVAILABLE
