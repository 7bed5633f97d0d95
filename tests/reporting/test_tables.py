import io

import pytest
import torch
from rich.console import Console
from torch import nn

from modeldeed import JudgeData, Owner, Passport, verify
from modeldeed.reporting import demo_table, report_table
from modeldeed.reporting.words import chance, chance_parts, headline, readings
from modeldeed.results import Support, Verdict


def text_of(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def flat(renderable):
    return " ".join(text_of(renderable).split())


class TestChance:
    @pytest.mark.parametrize(
        ("log10_p", "said"),
        [
            (0.0, "100 in 100"),
            (-0.3, "50 in 100"),
            (-2.5, "1 in 310"),
            (-5.9, "1 in 790,000"),
            (-6.0, "1 in 10^6"),
            (-38.53, "1 in 10^38"),
            (-1444.9, "1 in 10^1444"),
        ],
    )
    def test_said(self, log10_p, said):
        assert chance(log10_p) == said

    def test_never_makes_luck_look_smaller(self):
        for tenth in range(21, 4000, 7):
            words, exponent = chance_parts(-tenth / 10)
            odds = float(words.removeprefix("1 in ").replace(",", ""))
            shown = exponent if exponent is not None else torch.tensor(odds).log10().item()
            assert shown <= tenth / 10 + 1e-6


class TestDemo:
    def test_every_reading_stands_in_the_table(self, result):
        lines = text_of(demo_table(result)).splitlines()
        for row in readings(result):
            wanted = (
                row.model,
                row.key,
                f"{row.outcome.accuracy:.3f}",
                f"{row.outcome.matches}/640",
                chance(row.outcome.log10_p),
                row.outcome.verdict.value,
            )
            assert any(all(part in line for part in wanted) for line in lines), wanted

    def test_numbers_in_the_text(self, result):
        text = flat(demo_table(result))
        for number in (
            "631 of 640",
            "483",
            "0.926",
            "0.937",
            "1.27",
            "358 of 640",
            "0.904",
            "0.287",
            "1,234",
            "999",
            "0 bytes",
            "1 in 10^30",
            "2^57 keys",
            "1 in 10^12",
        ):
            assert number in text, number

    def test_bad_news_is_said(self, result):
        bad = result.model_copy(
            update={
                "deployed_keys_identical": False,
                "deployed_outputs_identical": False,
                "private_bytes_in_deployed": 77,
                "branch_word": Support.CONTRADICTS,
                "required_matches": None,
            }
        )
        text = flat(demo_table(bad))
        for said in ("OTHER tensors", "does NOT give", "77 bytes", "contradicts", "no number"):
            assert said in text, said

    def test_headline_follows_the_verdicts(self, result):
        assert "carries its owner's signature" in headline(result)
        lost = result.model_copy(update={"verdict": Verdict.INCONCLUSIVE})
        assert "inconclusive" in headline(lost)
        both = result.model_copy(update={"wrong_key_verdict": Verdict.VERIFIED})
        assert "proves nothing" in headline(both)


@pytest.fixture(scope="module")
def report():
    torch.manual_seed(0)
    host = nn.Sequential(
        nn.Conv2d(1, 80, 3),
        nn.BatchNorm2d(80),
        nn.Conv2d(80, 70, 3),
        nn.BatchNorm2d(70),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(70, 4),
    )
    owner = Owner(bytes(32))
    x, y = torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64)
    passport = Passport.issue(host, owner, example=x)
    with torch.no_grad():
        host[0].weight[3] = 0
    return verify(
        host, passport=passport, owner=owner, model=host, data=JudgeData(x, x, y), decoys=2
    )


class TestReport:
    def test_layers(self, report):
        lines = text_of(report_table(report)).splitlines()
        for layer in report.signature.layers:
            numbers = (str(layer.bits), str(layer.matches), f"{layer.median_margin:.2f}")
            row = next(line for line in lines if line.split()[:1] == [layer.norm])
            assert all(number in row for number in numbers)

    def test_facts(self, report):
        text, signature = flat(report_table(report)), report.signature
        assert report.reason in text
        assert f"{signature.matches} of {signature.bits} match" in text
        assert f"log10 p {signature.log10_p:.1f}" in text
        assert "-128 verifies" in text
        assert report.identity in text.replace(" ", "")
        assert "unreadable bits, counted as mismatches: 1" in text
        assert report.branch.reason in text
        assert "2 of 2 wrong keys" in text

    def test_layer_without_a_readable_bit(self, report):
        layer = report.signature.layers[0].model_copy(
            update={"median_margin": None, "lowest_margin": None}
        )
        signature = report.signature.model_copy(update={"layers": (layer,)})
        text = text_of(report_table(report.model_copy(update={"signature": signature})))
        assert "–" in text
