"""Results: frozen, strict, and the same after a round trip through JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from modeldeed import Report, Verdict
from modeldeed.errors import OptionError
from modeldeed.results import BranchEvidence, LayerReading, SignatureEvidence, Support

SCHEMA_FILE = Path(__file__).parents[1] / "docs" / "report.schema.json"


def made(**changes: Any) -> Report:
    layer = LayerReading(
        norm="norm",
        weight="conv.weight",
        axis=0,
        bits=3,
        matches=0,
        undecided=3,
        median_margin=None,
        lowest_margin=None,
    )
    signature = SignatureEvidence(
        reading="weights/v1",
        bits=3,
        matches=0,
        log10_p=0.0,
        log2_p=0.0,
        log10_p_paid=0.0,
        threshold_log2=-128.0,
        required_matches=None,
        median_margin=None,
        layers=(layer,),
    )
    branch = BranchEvidence(
        word=Support.UNINFORMATIVE,
        reason="decoys come close",
        public_accuracy=0.5,
        private_accuracy=0.25,
        decoys=(0.0, 1.0),
        rank_p=1.0,
        planned_decoys=2,
        decoy_seed=0,
        calibration_images=4,
        test_images=4,
        seconds=0.5,
    )
    fields: dict[str, Any] = {
        "verdict": Verdict.INCONCLUSIVE,
        "reason": "few bits",
        "identity": "a" * 64,
        "anchored": False,
        "suspect": "file",
        "suspect_digest": "b" * 64,
        "anchor_digest": "c" * 64,
        "signature": signature,
        "branch": branch,
        "warnings": ("one",),
        "version": "0",
    }
    return Report(**{**fields, **changes})


@pytest.mark.parametrize("changes", [{}, {"branch": None}, {"warnings": ()}])
def test_a_report_comes_back_from_json(changes: dict[str, Any]) -> None:
    report = made(**changes)
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_a_report_follows_its_schema() -> None:
    schema = Report.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    fields = json.loads(made().model_dump_json())
    validator.validate(fields)
    for wrong in (
        {"verdict": "stolen"},
        {"more": 1},
        {"signature": {}},
        {"branch": {**fields["branch"], "rank_p": 1.5}},
        {"branch": {**fields["branch"], "word": "proves"}},
    ):
        assert not validator.is_valid({**fields, **wrong}), wrong
    assert not validator.is_valid({k: v for k, v in fields.items() if k != "reason"})


def test_a_report_is_about_weights_or_about_answers() -> None:
    fields = made().model_dump()
    with pytest.raises(ValidationError, match="L1 or L3"):
        Report.model_validate({**fields, "signature": None, "branch": None})
    with pytest.raises(ValidationError, match="L1 or L3"):
        Report.model_validate({**fields, "answers": ANSWERS})
    report = Report.model_validate(
        {**fields, "signature": None, "branch": None, "answers": ANSWERS}
    )
    assert report.answers is not None
    with pytest.raises(OptionError, match="no signature"):
        report.require_signature()
    with pytest.raises(ValidationError, match="beside L1"):
        Report.model_validate({**fields, "signature": None, "answers": ANSWERS})


ANSWERS = {
    "test": "sequential",
    "family": "noise/v1",
    "classes": 10,
    "planned": 64,
    "queries": 27,
    "matches": 27,
    "refused": 0,
    "match_rate": 1.0,
    "rate_low": 0.8,
    "rate_high": 1.0,
    "log10_e": 25.7,
    "log10_p": -25.7,
    "threshold_log10": 25.3,
    "log10_e_absent": -1.6,
    "least_rate": 0.55,
    "batches": (),
}


def test_the_published_schema_is_current() -> None:
    """Write it anew with: python -m tests.test_results."""
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == Report.model_json_schema()


def schema_text() -> str:
    return json.dumps(Report.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def test_the_words_are_those_of_the_specification() -> None:
    assert [verdict.value for verdict in Verdict] == [
        "verified",
        "not verified",
        "inconclusive",
        "evidence invalid",
    ]
    assert [support.value for support in Support] == ["supports", "contradicts", "uninformative"]


def test_results_are_frozen_and_know_no_other_fields() -> None:
    report = made()
    with pytest.raises(ValidationError, match="frozen"):
        report.verdict = Verdict.VERIFIED
    with pytest.raises(ValidationError, match="frozen"):
        report.signature.matches = 3
    with pytest.raises(ValidationError, match="more"):
        made(more=1)


@pytest.mark.parametrize(("field", "value"), [("bits", -1), ("matches", -1), ("matches", 1.5)])
def test_counts_are_whole_and_not_negative(field: str, value: float) -> None:
    fields = made().signature.model_dump()
    with pytest.raises(ValidationError, match=field):
        SignatureEvidence(**{**fields, field: value})


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), "utf-8")
