from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from modeldeed.errors import MissingExtraError, OptionError
from modeldeed.reporting import eprocess_plot
from modeldeed.reporting.eprocess_plot import write_eprocess_plot
from modeldeed.statistics import Budget, log_e_path

random = np.random.default_rng(3)
MARKED = random.random(64) < 0.95
NULLS = random.random((5, 64)) < 0.1


@pytest.fixture
def drawn(monkeypatch):
    """The axes that are saved, by their place."""
    from matplotlib.figure import Figure

    kept = []

    class Kept(Figure):
        def savefig(self, *arguments, **named):
            kept.extend(self.axes)
            super().savefig(*arguments, **named)

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    return kept


def test_the_lines_are_the_courses_and_the_thresholds(tmp_path, drawn):
    write_eprocess_plot(tmp_path / "a.png", MARKED, 10, null_models=NULLS)
    upper, lower = drawn
    courses = [line for line in upper.lines if len(line.get_xdata()) == 65]
    assert len(courses) == 6
    suspect = courses[-1]
    assert suspect.get_color() != courses[0].get_color()
    expected = log_e_path(MARKED, 10) / np.log(10)
    assert suspect.get_ydata()[0] == 0
    assert np.allclose(suspect.get_ydata()[1:], expected)
    assert suspect.get_xdata()[-1] == 64
    assert upper.lines[-1].get_ydata()[0] == pytest.approx(84 * np.log10(2))
    assert lower.lines[-1].get_ydata()[0] == pytest.approx(3)
    low, high = upper.get_ylim()
    assert low < 0 < 84 * np.log10(2) < high
    # The dot stands on the first answer at which it is verified.
    dot = upper.lines[-2]
    closed = int(dot.get_xdata()[0])
    assert expected[closed - 1] >= 84 * np.log10(2) > expected[closed - 2]


def test_the_threshold_is_the_budgets(tmp_path, drawn):
    write_eprocess_plot(tmp_path / "a.svg", MARKED, 10, Budget(alpha_log2=20, grinding_log2=20))
    assert drawn[0].lines[-1].get_ydata()[0] == pytest.approx(40 * np.log10(2))
    assert "verified: 12.0" in [text.get_text() for text in drawn[0].texts]


@pytest.mark.parametrize("matched", [[True], [False], [False] * 300, [True] * 300])
def test_any_transcript_can_be_drawn(tmp_path, drawn, matched):
    write_eprocess_plot(tmp_path / "a.png", matched, 2, null_models=[[False, True]])
    for axes, threshold in zip(drawn, (84 * np.log10(2), 3), strict=True):
        assert axes.get_ylim()[0] < threshold < axes.get_ylim()[1]


def test_files_are_pictures_and_equal_transcripts_equal_files(tmp_path: Path):
    for name in ("a.png", "b.PNG", "c.svg", "d.svg"):
        write_eprocess_plot(tmp_path / name, MARKED, 10, null_models=NULLS)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.PNG").read_bytes()
    assert (tmp_path / "c.svg").read_bytes() == (tmp_path / "d.svg").read_bytes()
    root = ElementTree.fromstring((tmp_path / "c.svg").read_text(encoding="utf-8"))
    assert root.tag.endswith("}svg")


@pytest.mark.parametrize("name", ["plot", "plot.pdf", "plot.html"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(OptionError, match=rf"\.png or \.svg file, got '{name}'"):
        write_eprocess_plot(tmp_path / name, MARKED, 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("matched", "nulls", "told"),
    [([], (), "the suspect"), (NULLS, (), "the suspect"), (MARKED, [MARKED, []], "null model 1")],
)
def test_what_is_no_transcript_is_refused(tmp_path, matched, nulls, told):
    with pytest.raises(OptionError, match=rf"outcomes of {told} are one row"):
        write_eprocess_plot(tmp_path / "a.png", matched, 10, null_models=nulls)


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    def missing(module, package, extra):
        raise MissingExtraError(package, extra)

    monkeypatch.setattr(eprocess_plot, "import_extra", missing)
    with pytest.raises(MissingExtraError, match=r"modeldeed\[report\]"):
        write_eprocess_plot(tmp_path / "a.png", MARKED, 10)
    assert list(tmp_path.iterdir()) == []
