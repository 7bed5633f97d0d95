"""The bytes of verification samples, which never change: a judge recomputes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from modeldeed.anchor.plugin_rule import BackgroundInput, BackgroundKind
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.plugin.backgrounds import background_root, background_rule
from modeldeed.plugin.backgrounds.checks import shape_of
from tests.plugin.backgrounds.samples import (
    FORMS,
    KINDS,
    SEED,
    backgrounds_of,
    carriers_of,
    spread_indices,
)

GOLDEN: dict[str, str] = json.loads(Path(__file__).with_name("golden_samples.json").read_text())
ODD = (
    ImageInput(channels=2, height=5, width=67),
    ImageInput(channels=3, height=224, width=160),
    PointInput(points=19),
    AudioInput(samples=65),
)
CASES = [(form, kind) for form in (*FORMS, *ODD) for kind in KINDS]


def title(form: BackgroundInput, kind: str) -> str:
    return f"{kind} {form.kind} {'x'.join(map(str, shape_of(form)))}"


def digest(form: BackgroundInput, kind: BackgroundKind) -> str:
    backgrounds, rule = backgrounds_of(form, kind)
    samples = backgrounds.place(carriers_of(form, 6), spread_indices(6, rule)).numpy()
    little = samples.astype(samples.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_samples_are_what_they_always_were(form: BackgroundInput, kind: BackgroundKind) -> None:
    assert digest(form, kind) == GOLDEN[title(form, kind)]


def test_no_golden_digest_is_left_over() -> None:
    assert set(GOLDEN) == {title(*case) for case in CASES}


def test_the_root_is_what_it_always_was() -> None:
    root = background_root(SEED, background_rule(FORMS[0]))
    assert root.hex() == "b175452e0c219c16dcb74a458b2624304cc84e1602bf9411ed39f3586d0e4ada"
