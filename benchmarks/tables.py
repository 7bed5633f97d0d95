"""The results page: prose by hand, tables from the cards between markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import plots
from benchmarks.cards import Card
from benchmarks.registry import Experiment
from modeldeed.errors import DataError
from modeldeed.storage import write_atomically

__all__ = ["INTRODUCTION", "pages", "render_page", "section", "update_page"]

INTRODUCTION = """# Results

Every number on this page comes from a *card*: a JSON file under `benchmarks/results/` that records
one experiment in one setting with its full configuration, seeds, hardware, versions, commit and
time. The tables between the markers are written by `python -m benchmarks tables` and are never
edited by hand; `python -m benchmarks list` names the experiments, and
`python -m benchmarks run NAME --setting quick` measures one again. Accuracies are in [0, 1].
"""


def section(entry: Experiment, cards: Sequence[Card]) -> str:
    """The tables of one experiment.

    Args:
        entry: the experiment.
        cards: cards of all experiments.

    Returns:
        Markdown: one table with its provenance for every setting that has a card.
    """
    mine = {card.setting: card for card in cards if card.experiment == entry.name}
    parts = [
        f"### {entry.name}, {name}\n\n{entry.table(mine[name])}\n\n"
        f"{_figure(entry, mine[name])}{_provenance(mine[name])}"
        for name in entry.settings
        if name in mine
    ]
    return "\n\n".join(parts) or f"*No card yet: `python -m benchmarks run {entry.name}`.*"


def render_page(page: str, entries: Sequence[Experiment], cards: Sequence[Card]) -> str:
    """A results page with its generated parts made anew.

    Args:
        page: the page as it is; empty for a new one.
        entries: the experiments; one without markers gets a section at the end.
        cards: all cards.

    Returns:
        The page; everything outside of the markers is unchanged.

    Raises:
        DataError: a pair of markers is incomplete or stands twice.
    """
    page = page or INTRODUCTION
    for entry in entries:
        begin, end = (f"<!-- cards:{entry.name}:{word} -->" for word in ("begin", "end"))
        counts = page.count(begin), page.count(end)
        if counts == (0, 0):
            title = f"## {entry.name.capitalize()}\n\n{_sentence(entry.description)}"
            page = f"{page.rstrip()}\n\n{title}\n\n{begin}\n{end}\n"
        elif counts != (1, 1) or page.index(begin) > page.index(end):
            raise DataError(f"the page needs {begin} once and {end} once behind it; mend it")
        body = f"{begin}\n{section(entry, cards)}\n{end}"
        page = page[: page.index(begin)] + body + page[page.index(end) + len(end) :]
    return page


def update_page(
    path: Path, entries: Sequence[Experiment], cards: Sequence[Card], *, write: bool = True
) -> bool:
    """Bring a results page up to date.

    Args:
        path: the page; made when missing.
        entries: the experiments.
        cards: all cards.
        write: False only looks.

    Returns:
        Whether it was up to date before.

    Raises:
        DataError: its markers are broken.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = render_page(before, entries, cards)
    if after != before and write:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, after.encode())
    return after == before


def pages(
    results: Path, entries: Sequence[Experiment]
) -> list[tuple[Path, tuple[Experiment, ...]]]:
    """The results page, with every experiment, and the pages beside it that show some of them.

    Args:
        results: the results page.
        entries: all experiments.

    Returns:
        Pages with the experiments that stand in each.
    """
    found: list[tuple[Path, tuple[Experiment, ...]]] = [(results, tuple(entries))]
    for page in sorted(results.parent.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        shown = tuple(e for e in entries if f"<!-- cards:{e.name}:" in text)
        if page != results and shown:
            found.append((page, shown))
    return found


def _figure(entry: Experiment, card: Card) -> str:
    if entry.plot is None:
        return ""
    return f"![{entry.description}; {card.setting} setting]({plots.link(card)})\n\n"


def _provenance(card: Card) -> str:
    machine = card.hardware
    where = f"{machine.cpu}, {machine.threads} of {machine.cores} cores"
    if machine.gpu:
        where = f"{machine.gpu} with {where}"
    lines = [
        f"Seeds {', '.join(map(str, card.seeds))}; {where}; Python {card.versions.python}, torch "
        f"{card.versions.torch}, modeldeed {card.versions.modeldeed}, commit "
        f"`{card.commit[:12]}{'-dirty' if card.commit.endswith('-dirty') else ''}`; "
        f"{card.date:%Y-%m-%d}; {card.seconds:.0f} s."
    ]
    lines += [f"- {note}" for note in card.notes]
    return "\n".join([lines[0], "", *lines[1:]]).rstrip()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
