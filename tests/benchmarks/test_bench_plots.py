"""Figures from cards: every experiment that has a plot draws its committed cards."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from benchmarks.cards import Card, read_cards
from benchmarks.plots import figure_of, link, update_figures
from benchmarks.registry import experiments, find
from benchmarks.tables import section


def cards(root: Path) -> list[Card]:
    return read_cards(root / "benchmarks" / "results")


def test_every_committed_card_with_a_plot_is_drawn(root: Path, tmp_path: Path) -> None:
    entries, kept = experiments(), cards(root)
    drawn = update_figures(tmp_path, entries, kept)
    with_plots = {entry.name for entry in entries if entry.plot is not None}
    assert drawn == [
        link(card)
        for name in sorted(with_plots)
        for card in kept
        if card.experiment == name
    ]  # fmt: skip
    for name in drawn:
        assert ET.parse(tmp_path / name).getroot().tag.endswith("svg")
        assert (root / "docs" / name).exists(), "run python -m benchmarks tables"


def test_a_figure_is_the_same_again_and_has_no_date(root: Path) -> None:
    (card,) = (c for c in cards(root) if (c.experiment, c.setting) == ("robustness", "quick"))
    drawn = figure_of(find("robustness"), card)
    assert drawn == figure_of(find("robustness"), card)
    assert "<dc:date>" not in drawn


def test_the_figure_stands_below_its_table(root: Path) -> None:
    text = section(find("overhead"), cards(root))
    assert "](plots/overhead-quick.svg)" in text
    assert text.index("| schedule |") < text.index("](plots/overhead-quick.svg)")
    assert "plots/" not in section(find("forgery"), cards(root))
