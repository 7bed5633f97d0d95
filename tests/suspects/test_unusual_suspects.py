"""Suspects whose values cannot be read as they are: integers and NaN."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from modeldeed import Owner, Passport, verify
from modeldeed.errors import SuspectError

BITS = 160


@pytest.fixture(scope="module")
def passport(owner: Owner) -> Passport:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = nn.Sequential(
            nn.Conv2d(1, 32, 3, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 128, 3, bias=False),
            nn.BatchNorm2d(128),
        )
        return Passport.issue(host, owner, example=torch.rand(2, 1, 8, 8))


@pytest.fixture
def marked(passport: Passport) -> dict[str, Tensor]:
    """Return the host's weights with every bit written in: the row of channel i is bᵢ Pᵢ."""
    state = {name: tensor.clone() for name, tensor in passport.host.state_dict().items()}
    for target, bits, rows in zip(
        passport.manifest.anchor.targets,
        passport.branch.signed_bits().split([t.channels for t in passport.branch.targets]),
        passport_rows_of(passport),
        strict=True,
    ):
        state[target.weight] = 0.01 * bits.reshape(-1, 1, 1, 1) * rows
    return state


def passport_rows_of(passport: Passport) -> list[Tensor]:
    from modeldeed.passport.evidence.signature import passport_rows

    key = passport._key
    return [
        passport_rows(key, i, target, "gamma", "keyed").float()
        for i, target in enumerate(passport.manifest.anchor.targets)
    ]


def test_a_marked_suspect_is_verified_in_memory_and_on_disk(
    passport: Passport, owner: Owner, marked: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(marked, tmp_path / "suspect.safetensors")
    for suspect in (marked, tmp_path / "suspect.safetensors"):
        report = verify(suspect, passport=passport, owner=owner)
        assert report.verdict.value == "verified"
        assert (report.signature.matches, report.signature.bits) == (BITS, BITS)
        assert report.warnings == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_read(
    passport: Passport, owner: Owner, marked: dict[str, Tensor], dtype: torch.dtype
) -> None:
    suspect = {name: tensor.to(dtype) for name, tensor in marked.items()}
    assert verify(suspect, passport=passport, owner=owner).signature.matches == BITS


@pytest.mark.parametrize("name", ["3.weight", "4.weight"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.complex64])
def test_quantized_tensors_are_refused(
    passport: Passport, owner: Owner, marked: dict[str, Tensor], name: str, dtype: torch.dtype
) -> None:
    marked[name] = (100 * marked[name]).to(dtype)
    with pytest.raises(SuspectError, match=rf"{name} is torch\.\w+, not floating point.*restore"):
        verify(marked, passport=passport, owner=owner)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_unreadable_rows_count_as_mismatches_and_warn(
    passport: Passport,
    owner: Owner,
    marked: dict[str, Tensor],
    value: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    marked["3.weight"][:10] = value
    with caplog.at_level(logging.WARNING, logger="modeldeed"):
        report = verify(marked, passport=passport, owner=owner)
    assert report.signature.bits == BITS, "n stays the claim's n"
    assert report.signature.matches == BITS - 10
    assert [layer.undecided for layer in report.signature.layers] == [0, 10]
    assert any(
        "unreadable bits, counted as mismatches: 10" in warning for warning in report.warnings
    )
    assert "unreadable bits, counted as mismatches: 10" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_unreadable_scales_count_as_mismatches(
    passport: Passport, owner: Owner, marked: dict[str, Tensor], value: float
) -> None:
    marked["1.weight"][[0, 31]] = value
    report = verify(marked, passport=passport, owner=owner)
    assert report.signature.matches == BITS - 2
    assert [layer.undecided for layer in report.signature.layers] == [2, 0]


def test_a_suspect_of_nothing_but_nan_is_not_verified(
    passport: Passport, owner: Owner, marked: dict[str, Tensor]
) -> None:
    suspect = {n: torch.full_like(t, torch.nan) if t.is_floating_point() else t
               for n, t in marked.items()}  # fmt: skip
    report = verify(suspect, passport=passport, owner=owner)
    assert report.verdict.value == "not verified"
    assert report.signature.matches == 0
    assert report.signature.median_margin is None
    assert report.signature.log10_p == 0
