"""The documented format names every field of a deed and of what belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from modeldeed.deed.batches import BatchSecret
from modeldeed.deed.budgets import MarkBudget
from modeldeed.deed.commitments import FIELDS
from modeldeed.deed.derivation import Countersignature, DerivedFrom
from modeldeed.deed.opening import BatchOpening, OpenedBatch, Opening, SeedOpening
from modeldeed.deed.statement import (
    Algorithms,
    FileDigests,
    MarkEntry,
    Predicate,
    Statement,
    Subject,
    TensorDigest,
)

MODELS = (Statement, Subject, FileDigests, TensorDigest, Predicate, Algorithms, MarkEntry)
MODELS += (MarkBudget, DerivedFrom, Countersignature, Opening, SeedOpening, BatchOpening)
MODELS += (OpenedBatch, BatchSecret)


@pytest.fixture(scope="module")
def chapter() -> str:
    page = Path(__file__).parent.parent.parent / "docs" / "evidence-format.md"
    return page.read_text("utf-8").partition("\n## Deed\n")[2].partition("\n## Report\n")[0]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_in_the_format(model: type[BaseModel], chapter: str) -> None:
    for name, field in model.model_fields.items():
        assert f"`{field.alias or name}`" in chapter, name
        if isinstance(field.default, str) and field.default and name != "signature":
            assert f'"{field.default}"' in chapter, name


def test_every_committed_field_is_in_the_format(chapter: str) -> None:
    for kind, fields in FIELDS.items():
        assert f"`{kind}`" in chapter
        for name in fields:
            assert f"`{name}`" in chapter, (kind, name)
