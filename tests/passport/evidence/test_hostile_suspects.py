"""What a suspect's holder can try against the judge."""

from __future__ import annotations

import copy
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modeldeed import Report, Verdict, verify
from modeldeed.errors import SuspectError
from modeldeed.suspects import open_weights
from tests.passport.forging import (
    CLAIMANT,
    OWNER,
    STEM,
    Victim,
    changed,
    claimed,
    raw_safetensors,
    rescaled,
)
from tests.passport.hosts import digits_like

# --- the suspect's holder ---


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
