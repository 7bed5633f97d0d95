"""Numbers, defaults, words and fields in the text are those of the code."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import fields

from modeldeed import TrainingRule, TriggerTraining, secretfile
from modeldeed.anchor import Anchor, PassportRule, Target
from modeldeed.anchor.plugin_rule import BackgroundRule, PluginRule
from modeldeed.anchor.trigger_rule import (
    AudioInput,
    ImageInput,
    PointInput,
    TokenInput,
    TriggerRule,
)
from modeldeed.anchoring.record import AnchorRecord
from modeldeed.cli.exit_codes import code_of_verdict
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.private_check import DEFAULT_DECOYS
from modeldeed.passport.evidence.reading import MIN_BITS, UNPAID_LOG2_P
from modeldeed.passport.passport import DEFAULT_HEAD
from modeldeed.passport.private.heads import HEADS
from modeldeed.plugin.detector import DetectorConfig
from modeldeed.plugin.records import FusionManifest, PluginRecord
from modeldeed.results import (
    AnswerEvidence,
    BranchEvidence,
    Report,
    SignatureEvidence,
    Support,
    Verdict,
)
from modeldeed.statistics import (
    BLACK_BOX,
    Budget,
    MatchTest,
    information_limit,
    required_matches,
    stopping,
)
from modeldeed.suspects.answering import Answered, TranscriptHeader
from modeldeed.timestamping import Authority
from modeldeed.triggers.manifest import TriggerManifest
from tests.docs.pages import between, number, read, rows


def test_the_figures_of_required_matches_are_computed() -> None:
    table = rows(
        between(read("docs/soundness.md"), "<!-- required:Budget -->", "<!-- /required -->")
    )
    assert len(table) >= 5
    for bits, *needed in table:
        for budget, matches in zip((Budget(), Budget(grinding_log2=20)), needed, strict=True):
            assert required_matches(number(bits), budget) == number(matches), bits
    quoted = re.findall(r"of (\d[\d,]+) bits (\d[\d,]*\d)", " ".join(read("README.md").split()))
    assert [number(bits) for bits, _ in quoted] == [672, 1_152, 4_800]
    for bits, matches in [*quoted, ("720", "533")]:
        assert required_matches(number(bits), Budget()) == number(matches)


def test_the_figures_of_the_answers_to_questions_are_computed() -> None:
    text = " ".join(read("docs/faq.md").split())
    counts = re.findall(r"(\d+) of (\d[\d,]+)", text)
    assert len(counts) == 2
    for matches, bits in counts:
        assert required_matches(number(bits), Budget()) == int(matches)
    found = re.search(r"Of ten classes (\d+) answers if all match, (\d+) with a dated anchor", text)
    assert found
    dated = Budget(alpha_log2=20, grinding_log2=20)
    for quoted, budget in zip(found.groups(), (BLACK_BOX, dated), strict=True):
        test = MatchTest(10, budget)
        while test.decision is None:
            test.update(True)
        assert test.queries == int(quoted)


def test_the_figures_of_the_black_box_test_are_computed() -> None:
    text = between(read("docs/black-box.md"), "<!-- power:BLACK_BOX -->", "<!-- /power -->")
    *power, limits = rows(text)
    assert len(power) >= 5
    classes = (2, 10, 100, 1000)
    for rate, *cells in power:
        for k, cell in zip(classes, cells, strict=True):
            found = stopping(k, 1 / k if rate == "unrelated" else float(rate))
            share = found.not_verified if "*not*" in cell else found.verified
            quoted = cell.replace(" *not*", "")
            assert quoted == f"{share:.0%} in {found.expected_queries:.0f}", (rate, k)
    assert limits[1:] == [str(math.ceil(information_limit(k))) for k in classes]


def test_the_thresholds_in_words_are_those_of_the_code() -> None:
    budget = Budget()
    assert (budget.threshold_log2, budget.alpha_log2, budget.grinding_log2) == (-128, 64, 64)
    assert Budget(grinding_log2=20).threshold_log2 == -84
    assert (MIN_BITS, UNPAID_LOG2_P, DEFAULT_DECOYS) == (128, -20, 999)
    text = read("docs/verifying.md")
    for quoted in ("p ≤ 2⁻¹²⁸", "p > 2⁻²⁰", "at least 128 bits", "With 999 decoys"):
        assert quoted in text


def test_the_training_rules_defaults_are_those_of_the_code() -> None:
    for page, rule in (("training", TrainingRule()), ("black-box", TriggerTraining())):
        text = read(f"docs/{page}.md")
        mark = f"<!-- defaults:{type(rule).__name__} -->"
        table = rows(between(text, mark, "<!-- /defaults -->"))
        quoted = {name.strip("`"): ast.literal_eval(value.strip("`")) for name, value, _ in table}
        assert quoted == {field.name: getattr(rule, field.name) for field in fields(rule)}


def test_every_head_and_schedule_is_described() -> None:
    text = read("docs/training.md")
    schedules = rows(between(text, "### Schedules", "### Which number"))
    heads = rows(between(text, "## Heads", "## Losses"))
    # Whatever a schedule is called, the rule takes it, and no other.
    assert [TrainingRule(schedule=ast.literal_eval(cells[0].strip("`"))) for cells in schedules]
    assert len(schedules) == 4
    assert {cells[0].strip('`"') for cells in heads} == set(HEADS)
    (default,) = (cells[0].strip('`"') for cells in heads if cells[1].startswith("the default"))
    assert default == DEFAULT_HEAD
    assert all(f"**`{name}`**" in read("docs/evidence-format.md") for name in HEADS)


def test_every_verdict_word_and_field_of_a_report_is_explained() -> None:
    text = read("docs/verifying.md")
    verdicts = rows(between(text, "### The verdicts", "### If a suspect"))
    assert {cells[0].strip("`"): int(cells[-1]) for cells in verdicts} == {
        verdict.value: code_of_verdict(verdict).value for verdict in Verdict
    }
    words = rows(between(text, "## Level 2", "## The report"))
    assert {cells[0].strip("`") for cells in words} == {word.value for word in Support}
    report = between(text, "## The report", "## Checking")
    for field in set(Report.model_fields) - {"answers"}:
        assert f"`{field}`" in report or f'"{field}"' in report, field
    for field in set(AnswerEvidence.model_fields) - {"level"}:
        assert f"`answers.{field}`" in report or f"`.{field}`" in report, field
    for field in set(SignatureEvidence.model_fields) - {"level", "reading"}:
        assert f"`signature.{field}`" in report or f"`.{field}`" in report, field
    assert set(BranchEvidence.model_fields) > {"word", "reason"}


def test_every_field_of_the_evidence_is_in_the_format() -> None:
    text = read("docs/evidence-format.md")
    models = (Anchor, Target, PassportRule, Manifest, secretfile._File, TriggerRule)
    models += (ImageInput, PointInput, AudioInput, TokenInput, TriggerManifest)
    models += (TranscriptHeader, Answered, AnchorRecord, Authority)
    models += (PluginRule, BackgroundRule, PluginRecord, FusionManifest, DetectorConfig)
    for model in models:
        for name, field in model.model_fields.items():
            assert f"`{name}`" in text, f"{model.__name__}.{name}"
            if name in ("format", "kdf", "cipher", "reading", "statistics", "prior"):
                assert f'"{field.default}"' in text, f"{model.__name__}.{name}"
