import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from modeldeed.demo import DemoResult
from modeldeed.errors import MissingExtraError
from modeldeed.reporting import demo_page, plots, require_report_extra, write_demo_report
from modeldeed.results import Verdict

FIGURES = [plots.accuracy_figure, plots.wrong_key_figure, plots.margin_figure]


class Page(HTMLParser):
    """Text, attributes and balance of a page."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, html):
        super().__init__()
        self.text, self.attributes, self.open = "", [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    @property
    def words(self):
        return " ".join(self.text.replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.fixture
def page(result):
    return Page(demo_page(result))


class TestPage:
    def test_tags_balance(self, page):
        assert page.open == []

    def test_holds_the_results_numbers(self, page):
        for number in (
            "631 of 640",
            "483",
            "1 in 10171",
            "1 in 1030",
            "257 keys",
            "1 in 1012",
            "317 of 640",
            "0.926",
            "0.937",
            "0.915",
            "1.27 ×",
            "628 of 640",
            "590 of 640",
            "329 of 640",
            "358",
            "0.904",
            "0.287",
            "5.6",
            "1,234",
            "9 more epochs",
            "9.8.7",
            "6.5.4",
            "3.2.1",
            "Seed 41",
            "57 seconds",
            "0 bytes",
        ):
            assert number in page.words, number

    def test_reads_verdict_first(self, page):
        said = page.words
        order = [
            said.index(text)
            for text in (
                "carries its owner",
                "Verified.",
                "Five readings",
                "What it looks like",
                "What was done",
                "What this does not prove",
                "PyTorch 6.5.4",
            )
        ]
        assert order == sorted(order)

    def test_refers_to_nothing_outside(self, result, page):
        html = demo_page(result)
        for name, value in page.attributes:
            if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                assert value.startswith("#"), (name, value)
        assert not re.search(r"@import|url\((?!#)|<script|<link|<img|<iframe", html)

    def test_ids_are_unique_and_resolve(self, page):
        ids = [value for name, value in page.attributes if name == "id"]
        used = {v[1:] for n, v in page.attributes if n in ("href", "xlink:href")}
        used |= set(re.findall(r"url\(#([^)]*)\)", " ".join(v for _, v in page.attributes if v)))
        assert len(ids) == len(set(ids))
        assert used <= set(ids)

    def test_light_and_dark(self, result):
        html = demo_page(result)
        assert "prefers-color-scheme: dark" in html
        used = set(re.findall(r"var\((--[a-z]+)\)", html))
        root, dark = re.findall(r":root \{(.*?)\}", html, re.DOTALL)[:2]
        for variable in used:
            assert f"{variable}:" in root, variable
            assert f"{variable}:" in dark, variable

    def test_text_is_escaped(self, result):
        named = result.model_copy(update={"dataset": "<b>digits</b>"})
        assert "<b>digits" not in demo_page(named)

    def test_bad_outcome(self, result):
        lost = result.model_copy(
            update={
                "verdict": Verdict.NOT_VERIFIED,
                "required_matches": None,
                "median_margin": None,
            }
        )
        words = Page(demo_page(lost)).words
        assert "Not verified." in words
        assert "carries its owner" not in words

    def test_repeats(self, result):
        assert demo_page(result) == demo_page(result)


@pytest.mark.parametrize("size", [plots.WIDE, plots.NARROW])
@pytest.mark.parametrize("draw", FIGURES)
class TestFigures:
    def test_is_an_element_that_scales(self, draw, size, result):
        root = ElementTree.fromstring(draw(result, size))
        assert root.tag.endswith("svg")
        assert root.get("viewBox")
        assert root.get("width") is None
        assert root.get("aria-label")

    def test_takes_its_colors_from_the_page(self, draw, size, result):
        svg = draw(result, size)
        assert "var(--accent)" in svg
        assert set(re.findall(r"(?:fill|stroke): (#\w+)", svg)) == set()

    def test_brings_no_font(self, draw, size, result):
        svg = draw(result, size)
        assert "<text" in svg
        assert "font-family" not in svg


class TestContent:
    def test_wrong_keys(self, result):
        svg = plots.wrong_key_figure(result)
        for text in ("631", "483", "30"):
            assert re.search(rf">{text}<", svg), text

    def test_no_threshold_when_none_would_do(self, result):
        svg = plots.wrong_key_figure(result.model_copy(update={"required_matches": None}))
        assert ">needed<" not in svg

    @pytest.mark.parametrize(
        ("draw", "change"),
        [
            (plots.accuracy_figure, {"history": ()}),
            (plots.wrong_key_figure, {"signature_matches": 500}),
            (plots.margin_figure, {"margins": (1.0, 2.0, 3.0)}),
        ],
    )
    def test_is_drawn_from_the_result(self, draw, change, result):
        if change == {"history": ()}:
            change = {"history": result.history[:3]}
        assert draw(result) != draw(result.model_copy(update=change))

    def test_leaves_matplotlib_alone(self):
        code = (
            "import sys, modeldeed.reporting; assert 'matplotlib' not in sys.modules; "
            "assert 'jinja2' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestWriting:
    def test_files(self, result, tmp_path):
        write_demo_report(result, tmp_path / "new")
        data = (tmp_path / "new" / "report.json").read_text()
        assert DemoResult.model_validate_json(data) == result
        assert json.loads(data)["signature_matches"] == 631
        assert (tmp_path / "new" / "report.html").read_text() == demo_page(result)
        assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
            "report.html",
            "report.json",
        ]

    @pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
    def test_missing_extra(self, result, tmp_path, monkeypatch, missing):
        for name in [n for n in sys.modules if n.partition(".")[0] == missing]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(MissingExtraError, match=rf"{missing}.*modeldeed\[report\]"):
            require_report_extra()
        with pytest.raises(MissingExtraError):
            write_demo_report(result, tmp_path / "new")
        assert not (tmp_path / "new").exists()
