"""The coloured reading: against a slow twin, its null, and claimants who bring factors."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file
from scipy.stats import kstest
from torch import Tensor, nn

from modeldeed import Owner, Passport, Verdict, models, verify
from modeldeed.anchor import ColouredReading, PassportRule, Target
from modeldeed.errors import EvidenceError, OptionError, PlanError, SuspectError
from modeldeed.passport.evidence import files
from modeldeed.passport.evidence.coloured import factors_root, seen_target, seen_weights
from modeldeed.passport.evidence.factors import factors_of, published_probes
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.passport.evidence.signature import claimed_bits, passport_rows
from modeldeed.passport.private.branch import PrivateBranch
from modeldeed.statistics import randomized_p_value
from modeldeed.suspects import open_weights
from tests.passport.forging import CLAIMANT, OWNER, filed, with_state
from tests.passport.hosts import digits_like, make, tokens

Planted = tuple[nn.Module, Passport, Path]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A small host with its bits pressed in, its passport, and the passport's folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = models.resnet_small()
    passport = Passport.issue(host, OWNER, example=digits_like(), reading="coloured")
    optimizer = torch.optim.Adam(host.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("coloured") / "passport"
    passport.save(folder)
    return host.eval(), passport, folder


def unmarked() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return models.resnet_small().state_dict()


# --- reading ---


def slow_matches(state: dict[str, Tensor], passport: Passport) -> int:
    """Row by row, from the mathematics alone."""
    matches = 0
    key = passport.manifest.model_key(OWNER)
    for ordinal, target in enumerate(passport.manifest.anchor.targets):
        factor = passport.branch.factors[ordinal][0].double()
        bits = claimed_bits(key, ordinal, target)
        signs = passport_rows(key, ordinal, seen_target(target, factor[None]), "gamma", "keyed")
        for channel in range(target.channels):
            row = state[target.weight][channel].double().reshape(-1)
            reading = float(torch.dot(factor @ row, signs[channel].double()))
            sign = float(state[target.affine][channel].sign()) if target.affine else 1.0
            matches += reading * sign * float(bits[channel]) > 0
    return matches


def test_a_marked_host_verifies_from_files_alone(planted: Planted, tmp_path: Path) -> None:
    host, passport, folder = planted
    file = tmp_path / "model.safetensors"
    save_file(host.state_dict(), file)
    report = verify(file, passport=folder, owner=OWNER)
    assert report.verdict is Verdict.VERIFIED
    assert report.signature.reading == "coloured/v1"
    assert report.signature.matches >= 700
    assert report.signature.matches == slow_matches(host.state_dict(), passport)
    assert report.signature == passport.signature()
    assert report.signature == verify(host, passport=passport, owner=OWNER).signature
    assert {layer.weight for layer in report.signature.layers} <= set(host.state_dict())
    assert report.suspect_digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_training_and_judge_read_the_same_margins(planted: Planted) -> None:
    _, passport, _ = planted
    with torch.no_grad():
        margins = passport.branch.signed_bits() * passport.branch.readings().gamma
    evidence = passport.signature()
    assert int((margins > 0).sum()) == evidence.matches
    assert float(margins.median()) == pytest.approx(evidence.median_margin, abs=0.02)


def test_read_from_weights_the_mark_is_hardly_there(planted: Planted) -> None:
    """The two readings are two claims: passports of one say nothing under the other."""
    host, passport, _ = planted
    anchor = passport.manifest.anchor
    layers = load_layers(open_weights(host), anchor.targets)
    assert matches_of(layers, passport.manifest.model_key(OWNER)) < 440


def test_an_unmarked_host_and_a_wrong_key_are_not_verified(planted: Planted) -> None:
    host, _, folder = planted
    for suspect, owner in ((unmarked(), OWNER), (host, Owner(bytes(32)))):
        report = verify(suspect, passport=folder, owner=owner)
        assert report.verdict is Verdict.NOT_VERIFIED
        assert 280 < report.signature.matches < 440


def test_what_a_suspect_lacks_is_named_as_ever(planted: Planted) -> None:
    host, _, folder = planted
    state = host.state_dict()
    with pytest.raises(SuspectError, match=r"stem\.conv\.weight has shape \(16, 2, 3, 3\)"):
        verify(state | {"stem.conv.weight": torch.zeros(16, 2, 3, 3)}, passport=folder, owner=OWNER)
    with pytest.raises(SuspectError, match="lacks 1 of 12"):
        verify(
            {n: t for n, t in state.items() if n != "stem.conv.weight"},
            passport=folder,
            owner=OWNER,
        )
    zeros = state | {"stem.conv.weight": torch.zeros(16, 1, 3, 3)}
    assert verify(zeros, passport=folder, owner=OWNER).signature.layers[0].undecided == 16
    halves = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    before = verify(state, passport=folder, owner=OWNER).signature.matches
    assert abs(verify(halves, passport=folder, owner=OWNER).signature.matches - before) <= 2
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    assert verify(wrapped, passport=folder, owner=OWNER).signature.matches == before


def test_a_saved_passport_goes_on_as_it_was(planted: Planted) -> None:
    host, passport, folder = planted
    loaded = Passport.load(folder, OWNER, host)
    x = digits_like()
    with torch.no_grad():
        torch.testing.assert_close(loaded.private(x), passport.private(x))
    blind = PrivateBranch(
        host, passport.branch.targets, passport.manifest.model_key(OWNER),
        passport.manifest.anchor.passport_rule,
    )  # fmt: skip
    with torch.no_grad():
        assert float((blind(x) - passport.private(x)).abs().max()) > 1e-3


def test_gradients_reach_the_weights_through_the_factor() -> None:
    host, x = make("batch2d")
    passport = Passport.issue(host, OWNER, example=x, reading="coloured", probes=x)
    passport.joint_loss(x, torch.zeros(len(x), dtype=torch.long)).backward()
    for target in passport.branch.targets:
        gradient = host.get_parameter(target.weight).grad
        assert gradient is not None
        assert float(gradient.abs().sum()) > 0


# --- the null ---


def factor_kinds(host: nn.Module, targets: tuple[Target, ...]) -> dict[str, dict[int, Tensor]]:
    """Of the reference, of the suspect itself, and as bad as they can be."""
    reference = models.resnet_small()
    own = factors_of(host, targets, digits_like(64), samples=64)
    generator = torch.Generator().manual_seed(4)
    # An odd number of samples: an even one reads exactly 0 under some keys, which is a mismatch.
    flat = {o: torch.ones_like(f[:, :63]) for o, f in own.items()}
    for factor in flat.values():
        signs = torch.randint(0, 2, factor.shape[1:2], generator=generator) * 2 - 1
        factor.mul_(signs[None, :, None].to(torch.int8))
    return {
        "reference": factors_of(reference, targets, digits_like(64), samples=64),
        "suspect": own,
        "one direction": flat,
    }


@pytest.mark.parametrize("kind", ["reference", "suspect", "one direction"])
def test_wrong_keys_match_like_fair_coins(planted: Planted, kind: str) -> None:
    """Whatever the factors, as long as they do not depend on the bits: p-values are uniform."""
    host, passport, _ = planted
    targets = passport.manifest.anchor.targets[:4]
    factors = factor_kinds(host, passport.manifest.anchor.targets)[kind]
    chosen = {o: factors[o] for o in range(4)}
    layers = load_layers(*seen_weights(open_weights(host), targets, chosen))
    bits = sum(target.bits for target in targets)
    uniforms = np.random.default_rng(6).random(600)
    matches = [matches_of(layers, key) for key in decoy_keys(5, 600)]
    p_values = [
        randomized_p_value(m, bits, float(u)) for m, u in zip(matches, uniforms, strict=True)
    ]
    assert kstest(p_values, "uniform").pvalue > 1e-3
    # Power: a test that one bit in fifty is read off the suspect would be seen.
    shifted = [min(bits, m + bits // 50 + 1) for m in matches]
    p_values = [
        randomized_p_value(m, bits, float(u)) for m, u in zip(shifted, uniforms, strict=True)
    ]
    assert kstest(p_values, "uniform").pvalue < 1e-3


# --- claimants who bring factors ---


def fitted(state: dict[str, Tensor], targets: tuple[Target, ...], key: bytes) -> dict[int, Tensor]:
    """Factors under which any weights carry all bits of a key: X = Σ bᵢ cᵢ Qᵢ wᵢᵀ."""
    found = {}
    for ordinal, target in enumerate(targets):
        seen = target.model_copy(update={"shape": (target.channels, 512), "axis": 0})
        signs = passport_rows(key, ordinal, seen, "gamma", "keyed").float()
        rows = state[target.weight].flatten(1)
        bits = claimed_bits(key, ordinal, target).float()
        scale = state[target.affine].sign() if target.affine else torch.ones(target.channels)
        x = signs.T @ ((bits * scale / rows.norm(dim=1))[:, None] * rows)
        found[ordinal] = (x * (127 / x.abs().max())).round().to(torch.int8)[None]
    return found


def folder_with(folder: Path, path: Path, factors: dict[int, Tensor]) -> Path:
    """A copy of a passport's folder with other factors, its state signed anew."""
    state = load_file(next(folder.glob("state-*.safetensors")))
    state = {n: t for n, t in state.items() if not n.startswith("factor.")}
    return with_state(folder, path, save(state | {f"factor.{o}": f for o, f in factors.items()}))


def test_factors_made_after_the_bits_fit_everything_and_are_refused(
    planted: Planted, tmp_path: Path
) -> None:
    """Why the anchor commits to them: otherwise this verifies on a model never seen."""
    _, passport, folder = planted
    suspect, key = unmarked(), passport.manifest.model_key(OWNER)
    targets = passport.manifest.anchor.targets
    forged = fitted(suspect, targets, key)
    layers = load_layers(*seen_weights(open_weights(suspect), targets, forged))
    assert matches_of(layers, key) >= 700
    with pytest.raises(EvidenceError, match="not those that its anchor commits to"):
        verify(suspect, passport=folder_with(folder, tmp_path / "f", forged), owner=OWNER)


def test_a_commitment_to_them_makes_another_key(planted: Planted) -> None:
    """Committed to, they are before the bits: the bits they were fitted to no longer count."""
    _, passport, _ = planted
    suspect, manifest = unmarked(), passport.manifest
    forged = fitted(suspect, manifest.anchor.targets, manifest.model_key(OWNER))
    rule = PassportRule(head="keyed", reading=ColouredReading(factors=factors_root(forged)))
    anchor = manifest.anchor.model_copy(update={"passport": rule})
    claim = filed(manifest.model_copy(update={"anchor": anchor}).signed_by(OWNER, state=None))
    key = claim.model_key(OWNER)
    assert key != manifest.model_key(OWNER)
    layers = load_layers(*seen_weights(open_weights(suspect), anchor.targets, forged))
    assert 280 < matches_of(layers, key) < 440


def test_the_reading_cannot_be_chosen_afterwards(planted: Planted, tmp_path: Path) -> None:
    host, passport, folder = planted
    for reading in ("weights/v1", ColouredReading(factors="0" * 64)):
        rule = PassportRule(head="keyed", reading=reading)
        anchor = passport.manifest.anchor.model_copy(update={"passport": rule})
        swapped = passport.manifest.model_copy(update={"anchor": anchor})
        assert swapped.model_key(OWNER) != passport.manifest.model_key(OWNER)
        path = tmp_path / str(random.random())
        state = next(folder.glob("state-*.safetensors")).read_bytes()
        with_state(folder, path, state)
        signed = swapped.signed_by(OWNER, state=hashlib.sha256(state).hexdigest())
        (path / files.MANIFEST).write_bytes(signed.to_json())
        if isinstance(reading, str):
            report = verify(host, passport=path, owner=OWNER)
            assert report.verdict is Verdict.NOT_VERIFIED
            assert report.signature.reading == "weights/v1"
        else:
            with pytest.raises(EvidenceError, match="not those that its anchor commits to"):
                verify(host, passport=path, owner=OWNER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {}, "not those"),
        (lambda f: {o: x for o, x in f.items() if o}, "not those"),
        (lambda f: {**f, 0: f[0].float()}, "not 8-bit"),
        (lambda f: {**f, 0: -f[0]}, "not those"),
        (lambda f: {**f, 99: f[0].clone()}, "of layers not in its list"),
        (lambda f: {"00": f[0].clone(), **f}, "of layers not in its list"),
    ],
)
def test_altered_factors_are_refused(
    planted: Planted,
    tmp_path: Path,
    change: Callable[[dict[int, Tensor]], dict[int, Tensor]],
    message: str,
) -> None:
    host, passport, folder = planted
    other = folder_with(folder, tmp_path / "f", change(dict(passport.branch.factors)))
    with pytest.raises(EvidenceError, match=message):
        verify(host, passport=other, owner=OWNER)


@pytest.mark.parametrize("shape", [(1, 8, 10), (3, 8, 9), (8, 9), (1, 1, 9), (0, 8, 9)])
def test_committed_factors_that_fit_no_layer_are_refused(
    planted: Planted, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """A claimant may commit to anything; the stem has 16 rows of 9 weights."""
    host, passport, folder = planted
    factors = {0: torch.ones(shape, dtype=torch.int8)}
    rule = PassportRule(head="keyed", reading=ColouredReading(factors=factors_root(factors)))
    anchor = passport.manifest.anchor.model_copy(update={"passport": rule})
    path = folder_with(folder, tmp_path / "f", factors)
    manifest = files.load_manifest(path)
    changed = manifest.model_copy(update={"anchor": anchor}).signed_by(OWNER, state=manifest.state)
    (path / files.MANIFEST).write_bytes(changed.to_json())
    with pytest.raises(EvidenceError, match="fits no layer"):
        verify(host, passport=path, owner=OWNER)


def test_a_manifest_alone_is_not_enough(planted: Planted) -> None:
    host, _, folder = planted
    manifest = Manifest.from_json((folder / files.MANIFEST).read_bytes())
    assert manifest.anchor.passport_rule.reading_name == "coloured/v1"
    with pytest.raises(OptionError, match="give the folder it was saved to"):
        verify(host, passport=manifest, owner=OWNER)


# --- options, and layers that stay with their weights ---


def test_options_that_do_not_go_together_are_refused() -> None:
    host, x = make("batch2d")
    issue = Passport.issue
    with pytest.raises(OptionError, match="'weights' or 'coloured', got 'suspect'"):
        issue(host, OWNER, example=x, reading="suspect")
    with pytest.raises(OptionError, match="probes are for reading='coloured'"):
        issue(host, OWNER, example=x, probes=x)
    with pytest.raises(OptionError, match="needs rows='keyed'"):
        issue(host, OWNER, example=x, reading="coloured", rows="shared")
    with pytest.raises(OptionError, match="needs reading='weights'"):
        issue(host, CLAIMANT, example=x, reading="coloured", message="x")
    with pytest.raises(OptionError, match=r"Passport\.issue\(\.\.\., probes=batch\)"):
        published_probes(torch.zeros(2, 5, dtype=torch.long))
    with pytest.raises(PlanError, match="no layer of this host can be read coloured"):
        issue(make("pre-norm")[0], OWNER, example=tokens(), reading="coloured")


def test_bits_of_a_coloured_reading_are_not_set_in_a_retrofit() -> None:
    host, x = make("batch2d")
    passport = Passport.issue(host, OWNER, example=x, reading="coloured", probes=x)
    with pytest.raises(PlanError, match="are learned, not set"):
        passport.embed([x] * 40, original_steps=1000)
