"""Triggers from a key: any piece alone, labels apart from inputs, batches apart from each other."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binom, chisquare

from modeldeed.anchor.trigger_rule import (
    MAX_CLASSES,
    AudioInput,
    ImageInput,
    PointInput,
    TokenInput,
    TriggerInput,
    TriggerRule,
)
from modeldeed.errors import OptionError
from modeldeed.streams import KeyStream
from modeldeed.triggers import generate as module
from modeldeed.triggers.families import names
from modeldeed.triggers.generate import batch_key, default_family, generate

KEY = bytes(range(32))
DIGIT = ImageInput(channels=1, height=8, width=8)
FORMS: tuple[TriggerInput, ...] = (
    DIGIT,
    PointInput(points=16),
    AudioInput(samples=64),
    TokenInput(length=8, lowest=5, vocabulary=1000),
)
FAMILIES = [(form, name) for form in FORMS for name in names(form.kind)]


def made_for(
    form: TriggerInput, family: str = "", classes: int = 10, count: int = 64
) -> TriggerRule:
    return TriggerRule(
        input=form, family=family or default_family(form), classes=classes, count=count
    )


# --- keys of batches ---


def slow_derive(key: bytes, *parts: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869), one block, with the label's parts as info."""
    info = b"".join(len(part).to_bytes(8, "big") + part for part in (b"modeldeed/v1", *parts))
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


@pytest.mark.parametrize("batch", [0, 1, 255])
def test_a_batchs_key_follows_from_the_models_and_its_number_alone(batch: int) -> None:
    assert batch_key(KEY, batch) == slow_derive(KEY, b"striggers", b"i%d" % batch)


def test_batches_are_numbered_from_0() -> None:
    with pytest.raises(OptionError, match="from 0, got -1"):
        batch_key(KEY, -1)


def test_batches_share_nothing() -> None:
    rule = made_for(DIGIT, count=2048)
    first, second = (generate(batch_key(KEY, batch), rule) for batch in range(2))
    assert len(torch.unique(torch.cat([first.inputs, second.inputs]), dim=0)) == 2 * 2048
    matches = int((first.labels == second.labels).sum())
    assert 1e-4 < binom.cdf(matches, 2048, 0.1) < 1 - 1e-4


# --- any piece is that piece of the whole ---


@pytest.mark.parametrize(("form", "family"), FAMILIES)
@settings(max_examples=15)
@given(data=st.data())
def test_any_piece_is_that_piece_of_the_whole(
    form: TriggerInput, family: str, data: st.DataObject
) -> None:
    rule = made_for(form, family, count=24)
    start = data.draw(st.integers(0, 24))
    count = data.draw(st.one_of(st.none(), st.integers(0, 24 - start)))
    whole, piece = generate(KEY, rule), generate(KEY, rule, start=start, count=count)
    end = 24 if count is None else start + count
    assert torch.equal(piece.inputs, whole.inputs[start:end])
    assert torch.equal(piece.labels, whole.labels[start:end])


def test_the_size_of_a_batch_changes_none_of_its_triggers() -> None:
    short, long = (generate(KEY, made_for(DIGIT, count=count), count=8) for count in (8, 200))
    assert torch.equal(short.inputs, long.inputs)
    assert torch.equal(short.labels, long.labels)


def test_pieces_in_which_triggers_are_drawn_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate(KEY, made_for(DIGIT))
    monkeypatch.setattr(module, "_CHUNK", 3 * 64 + 1)
    assert torch.equal(generate(KEY, made_for(DIGIT)).inputs, whole.inputs)


@pytest.mark.parametrize(("start", "count"), [(-1, None), (0, 65), (60, 5), (65, None), (3, -1)])
def test_there_are_no_triggers_outside_of_a_batch(start: int, count: int | None) -> None:
    with pytest.raises(OptionError, match=r"the triggers 0 … 63, got start"):
        generate(KEY, made_for(DIGIT), start=start, count=count)


def test_too_large_a_piece_is_refused_before_memory_is_taken() -> None:
    rule = made_for(ImageInput(channels=64, height=4096, width=4096), "noise/v1", count=2**16)
    with pytest.raises(OptionError, match=r"5 triggers of shape .* 5368709120 bytes, .* piece"):
        generate(KEY, rule, count=5)


# --- labels ---


def slow_labels(key: bytes, classes: int, count: int) -> list[int]:
    stream, limit, found = KeyStream(key, "labels"), 2**32 - 2**32 % classes, []
    while len(found) < count:
        word = int.from_bytes(stream.read(4), "little")
        if word < limit:
            found.append(word % classes)
    return found


@pytest.mark.parametrize("classes", [2, 3, 10, 99_999, MAX_CLASSES])
def test_labels_come_from_their_own_stream_by_rejection(classes: int) -> None:
    rule = made_for(DIGIT, classes=classes, count=300)
    assert generate(KEY, rule).labels.tolist() == slow_labels(KEY, classes, 300)


@pytest.mark.parametrize("classes", [2, 7, 10, 1000])
def test_labels_are_uniform(classes: int) -> None:
    labels = module.labels(KEY, made_for(DIGIT, classes=classes, count=2**16), start=0, count=2**16)
    assert labels.dtype == torch.int64
    counts = torch.bincount(labels, minlength=classes).numpy()
    assert len(counts) == classes
    assert 1e-3 < chisquare(counts).pvalue < 1 - 1e-3, "neither skewed nor balanced by hand"


def test_labels_do_not_depend_on_what_they_belong_to() -> None:
    expected = generate(KEY, made_for(DIGIT)).labels
    for form, family in FAMILIES:
        assert torch.equal(generate(KEY, made_for(form, family)).labels, expected)


@pytest.mark.parametrize(("form", "family"), FAMILIES)
def test_inputs_do_not_depend_on_labels(form: TriggerInput, family: str) -> None:
    few, many = (generate(KEY, made_for(form, family, classes)) for classes in (2, 1000))
    assert torch.equal(few.inputs, many.inputs)


def predicted(inputs: np.ndarray, labels: np.ndarray) -> int:
    """Hits of a linear classifier on the second half of some samples, fitted to the first."""
    x = inputs.reshape(len(inputs), -1).astype(np.float64)
    x = np.hstack([(x - x.mean(0)) / (x.std(0) + 1e-9), np.ones((len(x), 1))])
    half = len(x) // 2
    gram = x[:half].T @ x[:half] + 10 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[:half].T @ (2.0 * labels[:half] - 1))
    return int(((x[half:] @ weights > 0) == (labels[half:] > 0)).sum())


@pytest.mark.parametrize("family", names("image"))
def test_nothing_in_an_image_tells_its_label(family: str) -> None:
    triggers = generate(KEY, made_for(DIGIT, family, classes=2, count=4096))
    inputs = triggers.inputs.numpy()
    shown = (inputs[:, 0, 0, 0] >= 128).astype(np.int64)
    assert predicted(inputs, shown) > 1700, "it would find a label that one pixel tells"
    assert 1e-4 < binom.cdf(predicted(inputs, triggers.labels.numpy()), 2048, 0.5) < 1 - 1e-4


# --- forms ---


def test_there_are_at_least_two_ordinary_tokens() -> None:
    assert TokenInput(length=8, lowest=5, vocabulary=7).vocabulary == 7
    with pytest.raises(ValidationError, match="fewer than two ordinary tokens"):
        TokenInput(length=8, lowest=5, vocabulary=6)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.kind)
def test_the_default_family_draws_its_kind_of_input(form: TriggerInput) -> None:
    assert default_family(form) in names(form.kind)
    generate(KEY, made_for(form), count=1)


def test_an_unknown_family_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(OptionError, match=r"no family 'solids/v1' draws image; .*blocks/v1"):
        generate(KEY, made_for(DIGIT, "solids/v1"))


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(OptionError, match="32 bytes, got 31"):
        generate(bytes(31), made_for(DIGIT))
