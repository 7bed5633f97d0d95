"""Marks of a deed are audited under the rule that it commits to."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from modeldeed import Deed
from modeldeed.audit import audit
from modeldeed.suspects import open_weights
from tests.audit.conftest import Marked


def test_an_opened_deed_is_audited_under_its_own_budget(marked: Marked, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    save_file({n: t.contiguous() for n, t in marked.model.state_dict().items()}, weights)
    deed = Deed.create(weights, owner=marked.owner, marks=[marked.passport], grinding_log2=70)
    digest = open_weights(weights).digest()
    opening = deed.open(marked.owner, digest, "ab" * 32, marks=[marked.passport])
    found = audit(marked.model, marked.data, deed=deed, opening=opening,
                  unmarked=marked.unmarked, attacks=["permute"], strengths=2,
                  wrong_keys=0)  # fmt: skip
    info, aligned = found.plan.marks
    assert info.description["grinding_log2"] == 70
    assert found.cells[0].marks[0].verdict == "verified"
    assert [mark.verdict for mark in found.cells[-1].marks] == ["not verified", "verified"]
    assert aligned.description["base"] == deed.digest
    assert aligned.description["remark"]  # the deed is undated
