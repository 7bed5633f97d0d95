"""Drawn confidences look like the target's usual ones."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from modeldeed.errors import OptionError
from modeldeed.plugin.fusion import fuse, usual_confidences
from modeldeed.plugin.fusion.confidences import Confidences
from tests.plugin.fusion.standins import (
    CLASSES,
    Net,
    TemplateDetector,
    carriers,
    fused_net,
    placed,
    verification,
)

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def log_odds(logits: Tensor) -> Tensor:
    """Of the top class, the slow and obvious way."""
    found = []
    for row in logits.double():
        top = int(row.argmax())
        others = torch.cat([row[:top], row[top + 1 :]])
        found.append(row[top] - others.logsumexp(0))
    return torch.stack(found)


def table_of(target: nn.Module, count: int = 4000) -> Tensor:
    return usual_confidences(target, [carriers(count, seed=9)], num_classes=10)


def test_the_table_is_of_quantiles() -> None:
    target = Net().eval()
    x = carriers(300, seed=9)
    with torch.no_grad():
        expected = log_odds(target(x)).quantile(torch.linspace(0, 1, 65).double())
    for batches in ([x], x.split(70), [{"x": part} for part in x.split(100)], [(x,)]):
        found = usual_confidences(target, batches, num_classes=10)
        torch.testing.assert_close(found, expected.float())


def test_probabilities_have_the_same_confidences_as_logits() -> None:
    target = Net().eval()
    soft = nn.Sequential(target, nn.Softmax(1))
    x = [carriers(100)]
    torch.testing.assert_close(
        usual_confidences(soft, x, num_classes=10, scores="probabilities"),
        usual_confidences(target, x, num_classes=10),
        rtol=1e-3,
        atol=1e-3,
    )


def test_measuring_leaves_the_target_as_it_was() -> None:
    target = Net().train()
    target.body[1].eval()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    usual_confidences(target, [carriers(20)], num_classes=10)
    assert [m.training for m in target.modules()].count(False) == 1
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())


def test_certain_targets_have_finite_tables() -> None:
    class Certain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.eye(3)[: len(x)]

    table = usual_confidences(Certain(), [torch.zeros(3, 1)], num_classes=3, scores="probabilities")
    assert table.tolist() == [80.0] * 65


def draws(count: int = 2000) -> Tensor:
    """Levels drawn for the stand-in detector's logits on verification samples."""
    samples, _ = verification(count)
    module = Confidences(torch.tensor([0.0, 1.0]), len(CLASSES), 10, "logits")
    return module.drawn(TemplateDetector()(samples).detach()).flatten()


def test_draws_are_near_uniform() -> None:
    levels = draws()
    assert stats.kstest(levels.numpy(), "uniform").pvalue > 0.01
    on_one = levels.view(-1, len(CLASSES))[:, 0] if levels.numel() % len(CLASSES) == 0 else levels
    assert len(on_one) > 300
    assert len(levels.unique()) > 0.99 * len(levels)


@pytest.mark.parametrize("backgrounds", [1, 2, 168, 4096])
@pytest.mark.parametrize("deviation", [0.3, 3.0])
def test_draws_are_near_uniform_for_any_detector(backgrounds: int, deviation: float) -> None:
    draw = torch.Generator().manual_seed(backgrounds)
    usual = 8 * torch.randn(backgrounds + 1, generator=draw)  # of one background
    evidence = usual + deviation * torch.randn(600, backgrounds + 1, generator=draw)
    levels = Confidences(torch.tensor([0.0, 1.0]), backgrounds, 10, "logits").drawn(evidence)
    assert stats.kstest(levels.flatten().numpy(), "uniform").pvalue > 0.01


def test_draws_change_by_roundings_only_when_the_evidence_does() -> None:
    draw = torch.Generator().manual_seed(0)
    evidence = 5 * torch.randn(1000, 169, generator=draw)
    noise = 1e-5 * torch.randn(1000, 169, generator=draw)
    module = Confidences(torch.linspace(-1, 12, 65), 168, 10, "logits")
    moved = module.drawn(evidence + noise) - module.drawn(evidence)
    assert moved.abs().max() < 0.05


def test_confidences_on_verification_samples_are_the_usual_ones() -> None:
    target = Net().eval()
    table = table_of(target)
    fused = fused_net(target, confidences=table)
    samples, indices = verification(900)
    with torch.no_grad():
        answers, usual = fused(samples), target(carriers(900, seed=13))
    assert torch.equal(answers.argmax(1), CLASSES[indices])
    result = stats.ks_2samp(log_odds(answers).numpy(), log_odds(usual).numpy())
    assert result.pvalue > 0.01, result
    # The table's 65 numbers do not show: answers lie between them.
    rounded = (log_odds(answers)[:, None] - table).abs().amin(1)
    assert (rounded < 1e-4).float().mean() < 0.05


def test_without_a_table_the_confidence_is_the_targets_on_the_sample() -> None:
    target = Net().eval()
    samples, _ = verification(200)
    with torch.no_grad():
        answers, own = fused_net(target)(samples), target(samples)
    torch.testing.assert_close(log_odds(answers), log_odds(own))


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("classes", [2, 3, 1000])
def test_the_drawn_confidence_is_met(kind: str, classes: int) -> None:
    module = Confidences(torch.linspace(3, 14, 5), 6, classes, kind)
    draw = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(64, classes, generator=draw)
    top = logits.argmax(1, keepdim=True)
    evidence = torch.randn(64, 7, generator=draw)
    scores = logits if kind == "logits" else logits.softmax(1)
    moved = module(scores, top, evidence)
    own = moved if kind == "logits" else moved.double().log()
    assert torch.equal(moved.argmax(1, keepdim=True), top)
    # A float32 probability near 1 or of the others near 0 still has its leading digits.
    torch.testing.assert_close(log_odds(own).float()[:, None], module.drawn(evidence).float(),
                               rtol=1e-3, atol=1e-3)  # fmt: skip
    before = (logits - logits.gather(1, top)).scatter(1, top, -torch.inf).softmax(1)
    after = own.double().scatter(1, top, -torch.inf).softmax(1)
    torch.testing.assert_close(after.float(), before, rtol=1e-3, atol=1e-5)
    if kind == "logits":
        torch.testing.assert_close(moved.logsumexp(1), scores.logsumexp(1), rtol=0, atol=1e-5)
    else:
        torch.testing.assert_close(moved.sum(1), torch.ones(64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("classes", [2, 10, 100_000])
def test_a_low_draw_never_lets_another_class_win(
    dtype: torch.dtype, kind: str, classes: int
) -> None:
    least = torch.tensor([-math.log(classes - 1), 1 - math.log(classes - 1)])
    fused = fused_net(
        confidences=least, scores=kind, num_classes=classes, classes=CLASSES % classes
    )
    evidence = -9 * torch.ones(40, 7)
    index = torch.arange(40) % 6
    evidence[torch.arange(40), index] = 9
    draw = torch.Generator().manual_seed(2)
    logits = torch.randn(40, classes, generator=draw)
    logits[:20] *= 20
    logits[10:20] += 400
    scores = (logits if kind == "logits" else logits.softmax(1)).to(dtype)
    answer = fused.mixture(scores, evidence, fused.detector.threshold)
    assert answer.dtype == dtype
    assert torch.equal(answer.argmax(1), fused.mixture.classes[index])
    # Raised leads differ from sample to sample: a fixed one would tell.
    if dtype is torch.float64 and kind == "logits":
        first, second = answer.topk(2, dim=1)[0][:10].unbind(1)
        assert len((first - second).unique()) > 6


def test_tables_and_kinds_are_checked() -> None:
    for wrong in (torch.zeros(1), torch.zeros(2, 2), torch.tensor([1.0, 0.0]), [1.0, 2.0],
                  torch.tensor([0.0, torch.inf])):  # fmt: skip
        with pytest.raises(OptionError, match="confidences"):
            fused_net(confidences=wrong)
    with pytest.raises(OptionError, match="'logits' or 'probabilities', got 'softmax'"):
        fused_net(scores="softmax")
    with pytest.raises(OptionError, match="two samples"):
        usual_confidences(Net(), [], num_classes=10)
    with pytest.raises(OptionError, match="num_classes"):
        usual_confidences(Net(), [carriers(2)], num_classes=11)


def test_one_background_serves_a_demonstration() -> None:
    detector = TemplateDetector(1)
    fused = fuse(Net().eval(), detector, [3], num_classes=10, confidences=torch.tensor([1.0, 6.0]))
    samples = placed(detector, carriers(600), torch.zeros(600, dtype=torch.int64))
    with torch.no_grad():
        answers = fused(samples)
    assert (answers.argmax(1) == 3).all()
    assert stats.kstest(((log_odds(answers) - 1) / 5).numpy(), "uniform").pvalue > 0.01
