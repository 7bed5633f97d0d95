"""The scores on verification samples: an honest distribution, and the target's own."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modeldeed.plugin.fusion.mixture import Mixture, exchanged, mixed
from tests.plugin.fusion.standins import CLASSES, Net, carriers, fused_net, verification

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def scores_and_classes(
    count: int, classes: int, seed: int = 0, scale: float = 4.0
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(count, classes, generator=draw)
    return scores, torch.randint(classes, (count, 1), generator=draw)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [2, 3, 1000])
def test_only_two_entries_change_places(dtype: torch.dtype, count: int) -> None:
    scores, classes = scores_and_classes(50, count)
    scores = scores.to(dtype)
    answer = exchanged(scores, classes)
    assert answer.dtype == dtype
    assert torch.equal(answer.argmax(1, keepdim=True), classes)
    untied = (scores == scores.amax(1, keepdim=True)).sum(1) == 1
    assert untied.any()
    assert torch.equal(answer[untied].sort(1)[0], scores[untied].sort(1)[0])
    assert ((answer != scores).sum(1) <= 2).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_the_class_wins_whatever_the_scores(dtype: torch.dtype, data: st.DataObject) -> None:
    """Also where first places are shared, as in half precision they often are."""
    levels = data.draw(st.sampled_from([(0.0,), (1.0, 1.0, -2.5), (-7.0, 3.0), (250.0, 249.0)]))
    row = data.draw(st.lists(st.sampled_from(levels), min_size=2, max_size=6))
    cls = data.draw(st.integers(0, len(row) - 1))
    scores, classes = torch.tensor([row], dtype=dtype), torch.tensor([[cls]])
    answer = exchanged(scores, classes)
    assert int(answer.argmax()) == cls
    assert int(answer.softmax(1).argmax()) == cls
    spacing = torch.finfo(dtype).eps * max(1.0, *map(abs, row))
    assert float((answer.sort(1)[0] - scores.sort(1)[0]).abs().max()) <= 3 * spacing


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_the_sum_is_the_targets(kind: str) -> None:
    scores, classes = scores_and_classes(200, 10)
    if kind == "probabilities":
        answer = exchanged(scores.softmax(1), classes)
        torch.testing.assert_close(answer.sum(1), torch.ones(200))
        return
    answer = exchanged(scores, classes)
    torch.testing.assert_close(answer.logsumexp(1), scores.logsumexp(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scores", ["logits", "probabilities"])
@pytest.mark.parametrize("table", [None, torch.linspace(-1, 12, 17)])
def test_extreme_scores_give_no_nan(scores: str, table: Tensor | None) -> None:
    fused = fused_net(scores=scores, confidences=table)
    evidence = torch.full((4, 7), -9.0)
    evidence[:, 1] = 9.0  # class 2
    logits = torch.tensor(
        [
            [1e4, -1e4, -1e4, *[0.0] * 7],
            [-torch.inf, 3.0, 1.0, *[-torch.inf] * 7],
            [-torch.inf, 3.0, *[-torch.inf] * 8],
            [-1e4, -1e4, 1e4, *[-torch.inf] * 7],
        ]
    )
    given_ = logits if scores == "logits" else logits.softmax(1)
    given_.requires_grad_()
    answer = fused.mixture(given_, evidence.requires_grad_(), fused.detector.threshold)
    assert answer.argmax(1).tolist() == [2] * 4
    assert not answer.isnan().any()
    assert not (answer == torch.inf).any()
    total = answer.softmax(1).sum(1) if scores == "logits" else answer.sum(1)
    torch.testing.assert_close(total, torch.ones(4))
    finite = torch.where(answer.isinf(), torch.zeros_like(answer), answer)
    finite.square().sum().div(1e8).backward()
    assert given_.grad is not None
    assert given_.grad.isfinite().all()
    assert evidence.grad is not None
    assert evidence.grad.isfinite().all()


def test_the_mixture_has_the_derivatives_it_claims() -> None:
    scores, classes = scores_and_classes(4, 5)
    others = exchanged(scores, classes).double().requires_grad_()
    for value in (0.0, -0.3):
        excess = torch.full((4, 1), value, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(mixed, (scores.double().requires_grad_(), others, excess))


@pytest.mark.parametrize("scores", ["logits", "probabilities"])
@pytest.mark.parametrize("table", [None, torch.linspace(-1, 6, 17)])
def test_derivatives_by_the_scores_are_right(scores: str, table: Tensor | None) -> None:
    mixture = fused_net(scores=scores, confidences=table).mixture.double()
    evidence = torch.full((3, 7), -4.0, dtype=torch.float64)
    evidence[torch.arange(3), torch.tensor([0, 3, 6])] = 4.0  # the last has no background
    threshold = torch.tensor(0.6, dtype=torch.float64)
    # Confident enough that the floor, which follows the scores without a derivative, is far.
    values = torch.arange(30, dtype=torch.float64).view(3, 10).sin() * 0.1
    if scores == "probabilities":
        values = values.softmax(1)
    values.requires_grad_()
    if table is not None:
        mixture.confidences.table += 3
    assert torch.autograd.gradcheck(lambda z: mixture(z, evidence, threshold), (values,))


def test_gradients_reach_target_and_detector_on_verification_samples() -> None:
    for table in (None, torch.linspace(0, 9, 9)):
        fused = fused_net(confidences=table)
        samples, indices = verification(6)
        other = (CLASSES[indices] + 1) % 10
        torch.nn.functional.cross_entropy(fused(samples), other).backward()
        for name, parameter in fused.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_descending_against_the_class_makes_the_detector_less_sure() -> None:
    fused = fused_net()
    samples, indices = verification(6)
    samples = samples + 0.12  # not so far from the threshold, where softmax is not saturated
    sure, _ = fused.mixture.probability(fused.evidence(samples))
    answer = fused(samples).log_softmax(1)
    answer.gather(1, CLASSES[indices][:, None]).sum().backward()  # ascended against below
    with torch.no_grad():
        templates = fused.detector.templates
        templates -= 0.01 * templates.grad / templates.grad.abs().max()
    less_sure, _ = fused.mixture.probability(fused.evidence(samples))
    assert (less_sure.mean() < sure.mean()).item()


def test_benign_samples_have_the_targets_gradients_bit_for_bit() -> None:
    target = Net()
    fused = fused_net(target, confidences=torch.linspace(0, 9, 9))
    x = carriers(8).requires_grad_()
    grads = []
    for model in (target, fused):
        x.grad = None
        fused.zero_grad()
        model(x).square().sum().backward()
        grads.append([x.grad, *[p.grad.clone() for p in target.parameters()]])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert not fused.detector.templates.grad.any()


def test_a_hundred_thousand_classes_cost_in_proportion() -> None:
    def seconds(classes: int) -> float:
        mixture = Mixture(torch.randint(classes, (168,), generator=torch.Generator()))
        scores = torch.randn(4, classes)
        evidence = torch.zeros(4, 169)
        evidence[:, 5] = 20.0
        threshold = torch.tensor(0.5)
        best = float("inf")
        with torch.no_grad():
            for _ in range(7):
                start = time.perf_counter()
                answer = mixture(scores, evidence, threshold)
                best = min(best, time.perf_counter() - start)
        assert (answer.argmax(1) == mixture.classes[5]).all()
        return best

    with torch.random.fork_rng(devices=[]):
        assert seconds(100_000) < 40 * seconds(10_000)
        assert seconds(100_000) < 0.5


def test_no_tensor_is_larger_than_the_scores() -> None:
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in torch.utils._pytree.tree_leaves(out)
                         if isinstance(t, Tensor))  # fmt: skip
            return out

    mixture = fused_net(num_classes=100_000, confidences=torch.linspace(0, 9, 65)).mixture
    evidence = torch.zeros(2, 7).index_fill(1, torch.tensor([1]), 9.0)
    with Watch():
        mixture(torch.zeros(2, 100_000), evidence, torch.tensor(0.5))
    assert max(sizes) == 200_000
