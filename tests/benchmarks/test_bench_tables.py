from datetime import datetime, timezone
from pathlib import Path

import pytest

from benchmarks.cards import Card, Hardware, Versions, write_card
from benchmarks.cli import app
from benchmarks.experiments._fidelity_card import Fidelity, Measured
from benchmarks.registry import find
from benchmarks.tables import INTRODUCTION, render_page
from modeldeed.errors import DataError

BEGIN, END = "<!-- cards:fidelity:begin -->", "<!-- cards:fidelity:end -->"


def _measured(seed: int, plain: float, public: float, matches: int) -> Measured:
    return Measured(
        host="digits-resnet_small-batch",
        seed=seed,
        plain_accuracy=plain,
        public_accuracy=public,
        private_accuracy=0.875,
        private_accuracy_reestimated=0.75,
        decoy_accuracy_mean=0.125,
        decoy_accuracy_max=0.25,
        decoys=12,
        signature_bits=720,
        signature_matches=matches,
        signature_match_rate=matches / 720,
        log10_p=-216.0 + (720 - matches),
        median_margin=5.5,
        plain_epoch_seconds=1.0,
        marked_epoch_seconds=1.25,
        training_time_ratio=1.25,
        seconds=9.0,
    )


def _card(setting: str = "quick") -> Card:
    cells = [_measured(0, 0.5, 0.75, 720), _measured(1, 0.75, 0.75, 719)]
    return Card(
        experiment="fidelity",
        setting=setting,
        metrics=Fidelity.of(cells).model_dump(mode="json"),
        configuration={},
        seeds=(0, 1),
        hardware=Hardware(cpu="A CPU", cores=2, threads=1, memory_bytes=2**30, gpu=None),
        versions=Versions(python="3.11", torch="2.9", numpy="2.0", modeldeed="0.1"),
        commit="0123456789abcdef-dirty",
        date=datetime(2026, 1, 2, tzinfo=timezone.utc),
        seconds=20.0,
        notes=("cifar10-resnet18w16-batch was skipped: no data",),
    )


def test_the_table_shows_means_paired_gaps_and_the_worst_seed() -> None:
    page = render_page("", [find("fidelity")], [_card()])
    assert page.startswith(INTRODUCTION.rstrip())
    row = next(line for line in page.splitlines() if line.startswith("| digits"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # Paired gaps 0.25 and 0: t(0.975, 1) = 12.706 times 0.125.
    assert cells[1:3] == ["0.625", "+0.125 ± 1.588"]
    assert cells[4:] == [
        "0.750",
        "0.125 (0.250)",
        "719/720",
        "-215",
        "5.5",
        "1.25×",
    ]
    assert "commit `0123456789ab-dirty`; 2026-01-02; 20 s." in page
    assert "- cifar10-resnet18w16-batch was skipped: no data" in page


def test_only_what_stands_between_the_markers_changes() -> None:
    entries = [find("fidelity")]
    page = f"# Mine\n\nbefore\n{BEGIN}\nold\n{END}\nafter\n"
    made = render_page(page, entries, [_card("standard"), _card("quick")])
    assert made.startswith(f"# Mine\n\nbefore\n{BEGIN}\n### fidelity, quick")
    assert made.endswith(f"{END}\nafter\n")
    assert "old" not in made
    assert made.index("### fidelity, quick") < made.index("### fidelity, standard")
    assert render_page(made, entries, [_card("standard"), _card("quick")]) == made


@pytest.mark.parametrize("page", [BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_broken_markers_are_refused(page: str) -> None:
    with pytest.raises(DataError, match="mend it"):
        render_page(page, [find("fidelity")], [])


def test_the_command_writes_the_page_and_checks_it(tmp_path: Path) -> None:
    page, results = tmp_path / "docs" / "results.md", tmp_path / "results"
    arguments = ["tables", "--page", str(page), "--results", str(results)]

    def code(*more: str) -> int:
        with pytest.raises(SystemExit) as raised:
            app([*arguments, *more])
        return int(raised.value.code or 0)

    write_card(_card(), results)
    assert code("--check") == 1
    assert not page.exists()
    assert code() == 0
    assert code("--check") == 0
    assert "719/720" in page.read_text(encoding="utf-8")
    beside = page.with_name("other.md")
    beside.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    page.with_name("plain.md").write_text("no tables\n")
    assert code("--check") == 1
    assert code() == 0
    assert code("--check") == 0
    made = beside.read_text(encoding="utf-8")
    assert "719/720" in made
    assert made.count("<!-- cards:") == 2
    assert page.with_name("plain.md").read_text() == "no tables\n"
    (results / "fidelity-quick.json").write_text("{}")
    assert code() == 2
