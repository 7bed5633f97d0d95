"""Forgeries of an aligned reading: references and exhibits that were made to fit."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from modeldeed import Owner, verify
from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.alignment import check_order, reader
from modeldeed.alignment.anchored import InPlace
from modeldeed.alignment.reading import read_aligned, twice
from modeldeed.attacks.invariance import (
    permute,
)
from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.signature import layer_secrets
from modeldeed.resolving.words import Void
from modeldeed.results import Verdict
from modeldeed.statistics import Budget, log_binomial_tail
from modeldeed.suspects import open_weights
from tests.resolving.conftest import World
from tests.resolving.test_aligned import X, drawn, model_of, verified
from tests.resolving.world import (
    Party,
    State,
    anchored,
    days,
    dispute,
    host,
    issued,
    owner,
    party,
    planted,
    saved,
)


def moved_until_it_fits(state: State, manifest: Manifest, claimant: Owner) -> State:
    """The same function with its channels in an order in which somebody's bits match."""
    key, made, order = manifest.model_key(claimant), dict(state), torch.arange(3)
    for ordinal, target in enumerate(manifest.anchor.targets):
        secrets = layer_secrets(key, ordinal, target)
        weight = made[target.weight][:, order]
        read = secrets.passports[0].float().flatten(1) @ weight.flatten(1).T
        fits = (secrets.bits[:, None] * read > 0).float()
        order = torch.from_numpy(linear_sum_assignment(fits.numpy(), maximize=True)[1])
        made[target.weight] = weight[order]
        for name in ("weight", "bias", "running_mean", "running_var"):
            made[f"{target.norm}.{name}"] = made[f"{target.norm}.{name}"][order]
    made["11.weight"] = made["11.weight"][:, order]
    return made


def forged(world: World, folder: Path) -> Party:
    """Somebody anchors acme's net and registers a copy whose channels he moved until they fit."""
    victim = world.acme.state
    manifest = anchored(issued(victim, owner(9)), owner(9), world.authorities[0], days(3))
    moved = moved_until_it_fits(victim, manifest, owner(9))
    assert torch.allclose(model_of(moved)(X), model_of(victim)(X), atol=1e-5)
    made = party(folder, "forger", owner(9), moved, manifest,
                 [(authority, days(4)) for authority in world.authorities])  # fmt: skip
    made.unmarked = victim
    return made


def test_a_permuted_reference_is_invalid_evidence(world: World, tmp_path: Path) -> None:
    made, original = forged(world, tmp_path), model_of(world.acme.state)
    # Without the exhibit the original reads as the copy does: what the rule is for.
    reference = model_of(made.state)
    found = verify(original, passport=made.manifest, owner=owner(9), reference=reference,
                   align=True).aligned  # fmt: skip
    assert found is not None
    assert found.matches >= 185
    with pytest.raises(EvidenceError, match="channels were reordered after"):
        verified(made, original, world, tmp_path)
    resolved = dispute(
        tmp_path / "claims", [made, world.acme], original, world.trust, model=host(0)
    )
    assert resolved.claim("forger").void is Void.FORGED
    assert resolved.claim("acme").verdict is Verdict.VERIFIED


def test_a_doctored_reference_is_invalid_evidence(world: World, tmp_path: Path) -> None:
    """Rows of an unrelated anchor, replaced by those of the accused model."""
    anchor_of = host(77).state_dict()
    manifest = anchored(issued(anchor_of, owner(9)), owner(9), world.authorities[0], days(-3))
    state = planted(world.acme.state, manifest, owner(9), margin=3.0)
    made = party(tmp_path, "forger", owner(9), state, manifest,
                 [(authority, days(-2)) for authority in world.authorities])  # fmt: skip
    made.unmarked = {name: tensor.clone() for name, tensor in anchor_of.items()}
    suspect = permute(model_of(world.acme.state), X, generator=drawn()).eval()
    with pytest.raises(EvidenceError, match="fewer than 90%"):
        verified(made, suspect, world, tmp_path)
    resolved = dispute(tmp_path / "claims", [made, world.acme], suspect, world.trust, model=host(0))
    assert resolved.claim("forger").void is Void.FORGED
    assert resolved.claim("acme").verdict is Verdict.VERIFIED


def test_the_signs_of_scales_are_the_anchors(world: World, tmp_path: Path) -> None:
    """Bits that somebody turned by the signs of his reference's scales are mismatches."""
    turned = copy.deepcopy(world.acme)
    turned.state = {name: tensor.clone() for name, tensor in turned.state.items()}
    turned.state["4.weight"] *= -1
    suspect = permute(model_of(world.acme.state), X, generator=drawn()).eval()
    claim: dict[str, Any] = {"passport": turned.manifest, "owner": owner(1), "align": True}
    reference = saved(turned.state, tmp_path / "turned.safetensors")
    with pytest.raises(EvidenceError, match="128 of 192 rows"):
        verify(suspect, **claim, reference=reference, unmarked=world.bare)


def test_an_exhibit_that_carries_the_bits_as_well_voids_the_reference(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last guard, behind the order of channels and the anchor's coordinates.

    Both are taken to have been deceived.
    """
    made, original = forged(world, tmp_path), model_of(world.acme.state)
    claim = PassportClaim.of(made.manifest, owner(9))
    shown = check_order(
        made.manifest.anchor, claim.model_key(), open_weights(world.acme.state),
        open_weights(made.state),
    )  # fmt: skip
    layers = tuple(
        layer.model_copy(update={"matched": layer.bits, "unmatched": ()}) for layer in shown.layers
    )
    pretended = shown.model_copy(update={"matched": shown.bits, "layers": layers})
    given: dict[str, Any] = {"base": bytes(32), "suspect_digest": bytes(32), "order": pretended}

    def read(**more: Any) -> AlignedEvidence:
        registered = model_of(made.state)
        return read_aligned(original, registered, claim, twice(Budget()), **given, **more)

    assert read().matches >= 185, "without the exhibit any copy of it carries the bits"
    assert made.unmarked is not None
    exhibit = model_of(made.unmarked)
    assert log_binomial_tail(read(exhibit=exhibit).matches, 192) > -7
    monkeypatch.setattr(reader, "in_place", lambda weights, *_, **__: InPlace(weights, 0))
    with pytest.raises(EvidenceError, match="older than the bits"):
        read(exhibit=exhibit)


def test_an_exhibit_that_nothing_runs_is_as_none(world: World, tmp_path: Path) -> None:
    """Bound rows are enough to check an order; without the rest nothing can be held against it."""
    bare = {name: tensor for name, tensor in world.bare.items() if not name.startswith("11.")}
    manifest = anchored(issued(world.bare, owner(9)), owner(9), world.authorities[0], days(-3))
    root = tensor_root(sorted(bare.items())).hex()
    anchor = manifest.anchor.model_copy(update={"weights_root": root})
    token = world.authorities[0].token_at(bytes.fromhex(anchor.digest), days(-3))
    manifest = manifest.model_copy(update={"anchor": anchor}).with_token(token).signed(owner(9))
    state = planted(world.bare, manifest, owner(9))
    made = party(tmp_path, "short", owner(9), state, manifest,
                 [(authority, days(-2)) for authority in world.authorities])  # fmt: skip
    made.unmarked = bare
    suspect = permute(model_of(state), X, generator=drawn()).eval()
    report = verified(made, suspect, world, tmp_path / "1")
    assert (report.verdict, report.aligned) == (Verdict.INCONCLUSIVE, None)
    assert "no model code that fits it" in report.reason
    found = dispute(tmp_path / "2", [made], suspect, world.trust, model=host(0)).claim("short")
    assert (found.verdict, found.aligned) == (Verdict.INCONCLUSIVE, None)


def test_an_honest_exhibit_reads_like_a_coin(world: World, tmp_path: Path) -> None:
    acme = world.acme
    suspect = permute(model_of(acme.state), X, generator=drawn()).eval()
    found = verified(acme, suspect, world, tmp_path).aligned
    assert found is not None
    assert found.exhibit_matches is not None
    assert log_binomial_tail(found.exhibit_matches, found.bits) > math.log(1e-3)
