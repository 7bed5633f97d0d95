"""Words, the cheapest attack, and what pages and tables make of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from modeldeed.audit import Audit, Cell, MarkInfo, MarkReading, Plan, cheapest, survival
from modeldeed.audit.findings import WORDS
from modeldeed.errors import OptionError
from modeldeed.reporting import audit_figures, audit_words
from modeldeed.reporting.audit_page import audit_page, write_audit_page
from modeldeed.reporting.audit_text import audit_latex, audit_markdown, failures_markdown
from modeldeed.reporting.audit_wrong_keys import wrong_keys_figure

MATCHES = {"verified": 700, "inconclusive": 480, "not verified": 365, "unreadable": None}


def reading(verdict: str, kind: str = "passport", **changes: Any) -> MarkReading:
    matches = MATCHES.get(verdict)
    p = {"verified": -150.0, "inconclusive": -12.0, "not verified": -0.4}.get(verdict)
    values = {"total": None if matches is None else 720, "log10_p": p, "threshold_log10": -38.5}
    return MarkReading(kind=kind, verdict=verdict, matches=matches, **{**values, **changes})  # type: ignore[arg-type]


def cell(attack: str, strength: str, after: float | None, verdict: str, **changes: Any) -> Cell:
    values: dict[str, Any] = {
        "key": f"{attack} {strength}", "seed": 0, "parameters": {}, "needed": (), "seconds": 1.0,
        "examination_seconds": 0.1, "steps": 0, "samples": 0, "labels": 0, "device": "cpu",
        "threads": 1, "versions": {"modeldeed": "0", "torch": "0", "python": "0"},
        "marks": (reading(verdict), MarkReading(kind="passport, aligned", verdict="not examined")),
    }  # fmt: skip
    return Cell(attack=attack, strength=strength, accuracy_before=0.95, accuracy_after=after,
                **{**values, **changes})  # fmt: skip


def audit_of(*cells: Cell, shipped: str = "verified", missing: int = 0) -> Audit:
    wrong = tuple(340 + n % 41 for n in range(200))
    first = cell("none", "–", 0.95, shipped, marks=(
        reading(shipped, wrong_keys=wrong),
        MarkReading(kind="passport, aligned", verdict="not examined")))  # fmt: skip
    plan = Plan(
        model="Net<b>", model_digest="ab" * 32, data="digits", train_samples=1400,
        test_samples=397, classes=10, original_steps=600, seeds=(0,), cells=(), left_out=(),
        marks=tuple(MarkInfo(kind=k, description={}) for k in ("passport", "passport, aligned")),
        versions={"modeldeed": "0", "torch": "0", "python": "0"},
    )  # fmt: skip
    return Audit(plan, (first, *cells), missing)


@pytest.mark.parametrize(
    ("cells", "word"),
    [
        ([(0.95, "verified"), (0.2, "verified")], "survives"),
        ([(0.95, "verified"), (0.2, "not verified")], "falls with the model"),
        ([(0.95, "inconclusive"), (0.2, "not verified")], "in doubt"),
        ([(0.95, "inconclusive"), (0.90, "not verified")], "removed"),
        ([(0.95, "unreadable")], "removed"),
        ([(0.899, "not verified")], "falls with the model"),
        ([(None, "not verified")], "gone, accuracy unknown"),
        ([(0.95, "not examined")], "not examined"),
    ],
)
def test_words(cells: list[tuple[float | None, str]], word: str) -> None:
    made = [cell("x", str(n), after, verdict) for n, (after, verdict) in enumerate(cells)]
    found = survival(audit_of(*made), "x", "passport")
    assert found.word == word
    assert word in WORDS
    assert survival(audit_of(*made), "x", "passport, aligned").word == "not examined"


def test_a_mark_that_was_not_there_is_not_said_to_be_removed() -> None:
    audit = audit_of(cell("x", "1", 0.95, "not verified"), shipped="not verified")
    assert survival(audit, "x", "passport").word == "was not there"
    assert cheapest(audit, "passport") is None


def test_the_cheapest_trains_least_then_needs_least_then_loses_least() -> None:
    cells = [
        cell("long", "a", 0.95, "not verified", steps=500, samples=10),
        cell("short", "a", 0.91, "not verified", steps=100, samples=1400),
        cell("shorter", "a", 0.91, "not verified", steps=100, samples=100),
        cell("ruin", "a", 0.30, "not verified"),
        cell("doubt", "a", 0.95, "inconclusive"),
    ]
    found = cheapest(audit_of(*cells), "passport")
    assert found is not None
    assert (found.attack, found.word) == ("shorter", "removed")
    found = cheapest(audit_of(*cells[3:]), "passport")
    assert found is not None
    assert (found.attack, found.word) == ("doubt", "in doubt")
    assert cheapest(audit_of(cells[3]), "passport") is None
    assert cheapest(audit_of(cells[0]), "passport, aligned") is None


WHOLE = audit_of(
    cell("prune", "30 % & more_", 0.94, "verified"),
    cell("prune", "<90 %>", 0.30, "not verified"),
    cell("permute", "all", 0.95, "not verified"),
    cell("resample", "4 passes", 0.93, "inconclusive", steps=1200, samples=1400),
    cell("retrain", "other classes", None, "unreadable", steps=10),
)


def test_the_page_needs_nothing_else_and_is_well_formed(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    page = audit_page({"ours": WHOLE, "published": WHOLE})
    assert not re.search(r"""(?:src|href)=["']|url\(|@import|<script""", page)
    assert "&lt;90 %&gt;" in page
    assert "<90 %>" not in page
    assert "Net&lt;b&gt;" in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)
    assert page.count("<svg") == 2 * 2 + 3 + 2 * 2  # overviews, one panel an attack, wrong keys
    assert "Passport, aligned (ours)" in page
    assert "assport, aligned (published)" not in page  # nobody looked there either
    assert "Permute (all): no training, no data, ±0 points of accuracy." in page
    write_audit_page(WHOLE, tmp_path / "audit.html")
    assert "(ours)" not in (tmp_path / "audit.html").read_text("utf-8")
    with pytest.raises(OptionError, match="nothing to report yet"):
        audit_page({"ours": Audit(WHOLE.plan, WHOLE.cells[1:])})


def test_an_aligned_panel_is_drawn_only_where_it_says_more() -> None:
    pytest.importorskip("jinja2")
    kind = "passport, aligned"
    cells = []
    for one in WHOLE.cells:
        word = "verified" if one.attack == "permute" else one.marks[0].verdict
        cells.append(one.model_copy(update={"marks": (one.marks[0], reading(word, kind))}))
    page = audit_page({"m": Audit(WHOLE.plan, tuple(cells))})
    assert page.count("<svg") == 2 * 2 + 3 + 1 + 2
    assert "it is not shown again" in page
    gone = [one.model_copy(update={"marks": (reading("not verified"),)}) for one in WHOLE.cells]
    assert '<figure class="panel">' not in audit_page({"m": Audit(WHOLE.plan, tuple(gone))})


def test_every_cell_with_an_accuracy_is_a_point_and_none_leaves_the_field() -> None:
    scales = audit_figures.scales_of(WHOLE, "passport")
    assert scales is not None
    svg = audit_figures.overview(WHOLE, "passport", scales)
    assert svg.count("<title>") == 5
    assert (svg.count('class="holds"'), svg.count('class="doubt"'), svg.count('class="fails"')) == (
        2, 1, 2)  # fmt: skip
    places = re.findall(r'<circle class="\w+" cx="([\d.]+)" cy="([\d.]+)"', svg)
    width, height = audit_figures.WIDE
    assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places)
    by_loss = sorted(places, key=lambda place: float(place[0]))
    assert float(by_loss[0][0]) < float(by_loss[-1][0])


def test_an_audit_still_running_says_what_is_missing() -> None:
    running = Audit(WHOLE.plan, WHOLE.cells, missing=7)
    assert "7 still to be computed" in audit_markdown({"x": running})
    pytest.importorskip("jinja2")
    assert "7 cells are still to be computed" in audit_page({"x": running})


def test_markdown_and_latex_say_the_same() -> None:
    text = audit_markdown({"ours": WHOLE})
    assert "| permute | removed (all; ±0 points) | not examined |" in text
    assert "| prune | falls with the model (<90 %>; −65.0 points) | not examined |" in text
    latex = audit_latex({"ours": WHOLE})
    assert r"permute & removed (all; $\pm$0 points) & not examined \\" in latex
    assert r"30 \% \& more\_" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert not re.search(r"(?<!\\)[%_]", latex)


def test_every_failure_within_the_budget_is_named() -> None:
    assert audit_words.failures(WHOLE, "passport") == [
        "permute (all: ±0 points)", "resample (4 passes: −2.0 points, in doubt)"]  # fmt: skip
    assert audit_words.failures(WHOLE, "passport, aligned") == []
    text = failures_markdown({"ours": WHOLE})
    assert text.startswith("- **passport**: permute (all: ±0 points); resample")
    whole = audit_of(cell("x", "1", 0.95, "verified"))
    assert failures_markdown({"m": whole}) == "- **passport**: none of those tried."


def test_remarks_and_reasons_are_told_of_what_was_examined() -> None:
    remark = {"remark": "it is judged as though"}
    marks = (WHOLE.plan.marks[0], MarkInfo(kind="passport, aligned", description=remark))
    plan = WHOLE.plan.model_copy(update={"marks": marks})
    assert "as though" not in audit_markdown({"m": Audit(plan, WHOLE.cells)})  # nobody looked
    aligned = (reading("verified"), reading("verified", "passport, aligned"))
    cells = tuple(one.model_copy(update={"marks": aligned}) for one in WHOLE.cells)
    looked = Audit(plan, cells)
    assert audit_words.remarks({"a": looked, "b": looked}) == ["it is judged as though"]
    assert "it is judged as though." in audit_markdown({"m": looked})
    why = MarkReading(kind="passport, aligned", verdict="not examined", reason="no exhibit")
    bare = Audit(
        plan, tuple(c.model_copy(update={"marks": (c.marks[0], why)}) for c in WHOLE.cells)
    )
    said = audit_words.cheapest_words(bare, "passport, aligned")
    assert said == (None, "not examined: no exhibit")


def test_the_figure_of_wrong_keys_names_what_is_needed() -> None:
    shipped = WHOLE.shipped
    assert shipped is not None
    drawn = wrong_keys_figure(shipped.marks[0], (740, 250))
    assert "200 wrong keys" in drawn
    assert "533 needed" in drawn
    assert wrong_keys_figure(reading("verified"), (740, 250)) == ""


def test_costs_are_means_over_seeds_with_the_least_evidence() -> None:
    two = audit_of(
        cell("x", "1", 0.95, "verified", steps=300),
        cell("x", "1", 0.85, "not verified", steps=300, seed=1, key="other"),
    )
    (_, cost) = audit_words.costs(two)
    assert cost.loss == pytest.approx(0.05)
    assert cost.within
    assert cost.share == 0.5
    assert cost.readings["passport"].verdict == "not verified"


def test_the_documented_words_are_the_words() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| ([a-z, ]+) \| ([^|]+) \|$", page, re.MULTILINE))
    assert rows == dict(WORDS)
