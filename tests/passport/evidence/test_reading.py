"""L1: the counting rules, the verdicts, and what a suspect may have lost."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modeldeed import Owner, Passport, Verdict, models, verify
from modeldeed.errors import EvidenceError, SuspectError
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.reading import (
    judge_signature,
    load_layers,
    matches_of,
    read_signature,
)
from modeldeed.statistics import LN10, Budget, log_binomial_tail
from modeldeed.suspects import open_weights
from tests.passport.hosts import digits_like, make

OWNER = Owner(bytes(range(32)), "owner")


def planted(seed: int = 0) -> tuple[nn.Module, Passport]:
    """A small host with its signature pressed in, without any task."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        host = models.resnet_small()
    passport = Passport.issue(host, OWNER, example=digits_like())
    optimizer = torch.optim.Adam(host.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    return host, passport


@pytest.fixture(scope="module")
def marked() -> tuple[nn.Module, Passport]:
    return planted()


def test_a_marked_host_verifies_from_its_file_alone(
    marked: tuple[nn.Module, Passport], tmp_path: Path
) -> None:
    host, passport = marked
    file = tmp_path / "model.safetensors"
    save_file(host.state_dict(), file)
    report = verify(file, passport=passport, owner=OWNER)
    assert report.verdict is Verdict.VERIFIED
    assert report.signature.matches == report.signature.bits == 720
    assert report.signature.log2_p == -720
    assert report.signature.log10_p == pytest.approx(log_binomial_tail(720, 720) / LN10)
    assert report.signature.log10_p_paid == pytest.approx((64 - 720) * 0.30103, rel=1e-5)
    assert report.signature.threshold_log2 == -128
    assert sum(layer.matches for layer in report.signature.layers) == 720
    assert report.suspect_digest == open_weights(file).digest()


def test_an_unmarked_host_does_not(marked: tuple[nn.Module, Passport]) -> None:
    _, passport = marked
    report = verify(models.resnet_small(), passport=passport, owner=OWNER)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert 280 < report.signature.matches < 440


def test_another_owners_key_is_never_verified(marked: tuple[nn.Module, Passport]) -> None:
    host, passport = marked
    report = verify(host, passport=passport, owner=Owner(bytes(32)))
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "the key is not this passport's" in report.reason
    assert 280 < report.signature.matches < 440


def test_same_identity_but_another_label_is_invalid_evidence(
    marked: tuple[nn.Module, Passport],
) -> None:
    host, passport = marked
    relabeled = passport.manifest.model_copy(update={"label": "other"})
    signed = relabeled.signed_by(OWNER, state=None)
    with pytest.raises(EvidenceError, match="issued under another label, or altered"):
        verify(host, passport=signed, owner=OWNER)
    with pytest.raises(EvidenceError, match="altered"):
        verify(host, passport=relabeled, owner=OWNER)


def test_matches_of_equals_the_full_reading(marked: tuple[nn.Module, Passport]) -> None:
    host, passport = marked
    layers = load_layers(open_weights(host), passport.manifest.anchor.targets)
    keys = decoy_keys(0, 5)
    assert len(set(keys)) == 5
    for key in keys:
        assert matches_of(layers, key) == read_signature(layers, key, Budget()).matches


def test_flipping_row_and_scale_together_changes_no_bit(
    marked: tuple[nn.Module, Passport],
) -> None:
    host, passport = marked
    flipped = copy.deepcopy(host)
    with torch.no_grad():
        flipped.stem.conv.weight[::2] *= -1
        flipped.stem.norm.weight[::2] *= -1
        flipped.stem.norm.running_mean[::2] *= -1
    host.eval(), flipped.eval()
    torch.testing.assert_close(flipped(digits_like()), host(digits_like()))
    assert verify(flipped, passport=passport, owner=OWNER).signature.matches == 720
    with torch.no_grad():
        flipped.stem.norm.weight[::2] *= -1  # one without the other does
    assert verify(flipped, passport=passport, owner=OWNER).signature.matches == 712


@pytest.mark.parametrize("damage", ["zero rows", "zero scale", "nan", "infinite"])
def test_what_cannot_be_read_counts_as_mismatch(
    marked: tuple[nn.Module, Passport], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    host, passport = marked
    state = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    weight, scale = state["stem.conv.weight"], state["stem.norm.weight"]
    if damage == "zero rows":
        weight[:3] = 0
    elif damage == "zero scale":
        scale[:3] = 0
    else:
        weight[:3, 0, 0, 0] = float("nan") if damage == "nan" else float("inf")
    with caplog.at_level(logging.WARNING):
        report = verify(state, passport=passport, owner=OWNER)
    assert report.signature.bits == 720
    assert report.signature.matches == 717
    assert report.signature.layers[0].undecided == 3
    assert "unreadable bits, counted as mismatches: 3" in report.warnings[0]
    assert "unreadable bits, counted as mismatches: 3" in caplog.text


def test_a_wholly_destroyed_layer_has_no_margin(marked: tuple[nn.Module, Passport]) -> None:
    host, passport = marked
    state = {name: torch.zeros_like(tensor) for name, tensor in host.state_dict().items()}
    report = verify(state, passport=passport, owner=OWNER)
    assert report.signature.matches == 0
    assert report.signature.median_margin is None
    assert report.signature.log10_p == 0
    assert report.verdict is Verdict.NOT_VERIFIED


@pytest.mark.parametrize(
    ("matches", "bits", "verdict"),
    [
        (503, 672, Verdict.VERIFIED), (502, 672, Verdict.INCONCLUSIVE),
        (336, 672, Verdict.NOT_VERIFIED), (127, 127, Verdict.INCONCLUSIVE),
        (128, 128, Verdict.VERIFIED), (127, 128, Verdict.INCONCLUSIVE),
        (2852, 4800, Verdict.VERIFIED), (2851, 4800, Verdict.INCONCLUSIVE),
        (0, 4800, Verdict.NOT_VERIFIED),
    ],
)  # fmt: skip
def test_verdicts(matches: int, bits: int, verdict: Verdict) -> None:
    host, x = make("batch2d")
    passport = Passport.issue(host, OWNER, example=x)
    log_p = log_binomial_tail(matches, bits)
    evidence = passport.signature().model_copy(
        update={"matches": matches, "bits": bits, "log2_p": log_p / LN10 / 0.30102999566}
    )
    assert judge_signature(evidence, Budget())[0] is verdict


def test_missing_misshapen_and_integer_tensors_are_named(
    marked: tuple[nn.Module, Passport],
) -> None:
    host, passport = marked
    state = dict(host.state_dict())
    renamed = {name.replace("stem", "stam"): tensor for name, tensor in state.items()}
    with pytest.raises(SuspectError, match=r"lacks 2 of 24 .*stem\.conv\.weight.*stam\.conv"):
        verify(renamed, passport=passport, owner=OWNER)
    misshapen = state | {"stem.conv.weight": torch.zeros(16, 3, 3, 3)}
    with pytest.raises(SuspectError, match=r"stem\.conv\.weight has shape \(16, 3, 3, 3\)"):
        verify(misshapen, passport=passport, owner=OWNER)
    integers = state | {"stem.conv.weight": state["stem.conv.weight"].to(torch.int8)}
    with pytest.raises(SuspectError, match=r"stem\.conv\.weight is torch\.int8"):
        verify(integers, passport=passport, owner=OWNER)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read(marked: tuple[nn.Module, Passport], dtype: torch.dtype) -> None:
    host, passport = marked
    cast = {n: t.to(dtype) if t.is_floating_point() else t for n, t in host.state_dict().items()}
    assert verify(cast, passport=passport, owner=OWNER).signature.matches >= 719


def test_report_round_trips_as_json(marked: tuple[nn.Module, Passport]) -> None:
    host, passport = marked
    report = verify(host, passport=passport, owner=OWNER)
    assert type(report).model_validate_json(report.model_dump_json()) == report


def test_shared_rows_come_with_a_warning() -> None:
    host = models.resnet_small()
    passport = Passport.issue(host, OWNER, example=digits_like(), rows="shared")
    warning = verify(host, passport=passport, owner=OWNER).warnings[-1]
    assert "can be read and removed without the key" in warning
