"""Transformers in another basis: turned streams, reordered heads, and what must not come of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeldeed.alignment.rotation import (
    Products,
    fitted_turn,
    polar,
    pooled_matrix,
    turn_by,
)
from modeldeed.alignment.turning import in_basis
from modeldeed.attacks import AttackData, Quantize
from modeldeed.attacks.invariance import permute_heads, rotate_residual
from modeldeed.data import Dataset
from modeldeed.statistics import Budget, log_binomial_tail, required_matches

pytest.importorskip("transformers")
from tests.alignment.trained_transformers import Claim, digits, loss_of, texts, tuned


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def claim(kind: str) -> Claim:
    return Claim(kind)


def example(model: nn.Module) -> Tensor:
    return texts(2, 5) if hasattr(model, "lm_head") else digits(2, 5)[0]


def rotated(model: nn.Module, kind: Any = "full") -> nn.Module:
    return rotate_residual(model, example(model), kind=kind, generator=drawn())


def reordered(model: nn.Module, *, queries: bool = False) -> nn.Module:
    return permute_heads(model, example(model), queries=queries, generator=drawn(1))


def rounded(model: nn.Module) -> nn.Module:
    x, y = digits(2, 0)
    data = Dataset(name="d", x_train=x, y_train=y, x_test=x, y_test=y, classes=tuple("0123456789"))
    return Quantize(bits=8).apply(model, AttackData(data), drawn())


Rewrite = Callable[[nn.Module], nn.Module]
PURE: dict[str, Rewrite] = {
    "signed permutation": lambda m: rotated(m, "permutation"),
    "blocks": lambda m: rotated(m, "blocks"),
    "full": rotated,
    "heads": reordered,
    "rotated, heads": lambda m: reordered(rotated(m)),
    "rotated, heads, queries": lambda m: reordered(rotated(m), queries=True),
}
CHANGED: dict[str, Rewrite] = {
    "then fine-tuned": lambda m: tuned(reordered(rotated(m))),
    "fine-tuned before": lambda m: reordered(rotated(tuned(m))),
    "rounded to 8 bits": lambda m: rounded(reordered(rotated(m))),
}


@pytest.mark.slow
def test_the_hosts_learned_something_and_carry_every_bit() -> None:
    for kind, chance in (("llama", 4.8), ("vit", 2.3)):
        one = claim(kind)
        assert one.loss < 0.8 * chance
        assert float(loss_of(one.model, 999_999, 64).detach()) < 0.8 * chance
        assert one.direct(one.model) == one.bits >= 128
        assert one.matches(one.model) == one.bits


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PURE, *CHANGED])
def test_bits_of_a_turned_llama_come_back(name: str) -> None:
    one = claim("llama")
    suspect = {**PURE, **CHANGED}[name](one.model).eval()
    needed = required_matches(one.bits, Budget())
    assert needed is not None
    assert one.direct(suspect) < needed
    found = one.matches(suspect)
    assert found >= (one.bits if name in PURE else 0.95 * one.bits)


# The first layer of a ViT holds bits in rows of sixteen numbers. To mark them moves the stream, and
# part of that looks like a rotation away from the exhibit: some of them stay unread.
@pytest.mark.slow
@pytest.mark.parametrize("name", [*PURE, *CHANGED])
def test_most_bits_of_a_turned_vit_come_back(name: str) -> None:
    one = claim("vit")
    suspect = {**PURE, **CHANGED}[name](one.model).eval()
    needed = required_matches(one.bits, Budget())
    assert needed is not None
    assert one.direct(suspect) < needed
    least = 0.85 if name.endswith("queries") else 0.93
    found = one.matches(suspect)
    assert found >= (1 if name in ("signed permutation", "heads") else least) * one.bits


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "vit"])
def test_without_an_exhibit_what_was_turned_stays_turned(kind: str) -> None:
    one = claim(kind)
    suspect = rotated(one.model)
    assert one.matches(suspect, turned=False) < 0.65 * one.bits
    before = {name: tensor.clone() for name, tensor in one.unmarked.state_dict().items()}
    first, again = one.aligned(suspect).weights, one.aligned(suspect).weights
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(before[n], t) for n, t in one.unmarked.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "vit"])
def test_other_models_read_like_coins_whatever_the_key(kind: str) -> None:
    """What cannot be aligned is a mismatch, so the counts are binomial or fewer."""
    one, matches, bits = claim(kind), 0, 0
    for number, other in enumerate(one.others):
        suspects = [other, reordered(rotated(other))]
        for key in (one.key, *(bytes([k, number]) * 16 for k in range(1, 4))):
            for suspect in suspects[: 2 if key == one.key else 1]:
                found = one.matches(suspect, key=key)
                assert log_binomial_tail(found, one.bits) > -12
                matches, bits = matches + found, bits + one.bits
    assert log_binomial_tail(matches, bits) > -8


@pytest.mark.slow
def test_modules_of_other_names_are_found() -> None:
    class Renamed(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.inner = model

        def forward(self, tokens: Tensor) -> Any:
            return self.inner(tokens).logits

    one = claim("llama")
    suspect = Renamed(reordered(rotated(one.model))).eval()
    assert one.matches(suspect) == one.bits


def test_rotations_and_scales_are_found_together() -> None:
    x = torch.randn(400, 24, generator=drawn()) @ torch.randn(24, 24, generator=drawn(1))
    q = polar(torch.randn(24, 24, generator=drawn(2)))
    d = torch.rand(24, generator=drawn(3)) + 0.5
    y = (x @ q) * d
    turn = fitted_turn(Products.of(x[:300], y[:300]))
    assert turn.rest(x[300:], y[300:]) < 1e-3
    weight = torch.randn(10, 24, generator=drawn(4))
    gains = torch.rand(24, generator=drawn(5)) + 0.5
    gains[3] = 0
    back = turn.to_reference(weight, gains)
    expected = (weight * d) @ q.mT / gains
    expected[:, 3] = 0
    assert torch.cosine_similarity(back.flatten(), expected.flatten(), dim=0) > 0.99
    parts = [Products.of(x[:150], y[:150]), Products.of(x[150:300], y[150:300])]
    whole = parts[0] + parts[1]
    assert whole.count == 300
    torch.testing.assert_close(whole.cross, Products.of(x[:300], y[:300]).cross)
    matrix = pooled_matrix([(part, fitted_turn(part)) for part in parts])
    assert turn_by(whole, matrix).rest(x[300:], y[300:]) < 1e-2


def test_rows_are_put_into_the_basis_of_the_exhibit() -> None:
    exhibit = torch.randn(12, 20, generator=drawn())
    q = polar(torch.randn(12, 12, generator=drawn(1)))
    torch.testing.assert_close(in_basis(exhibit, q @ exhibit), exhibit, rtol=1e-4, atol=1e-4)
