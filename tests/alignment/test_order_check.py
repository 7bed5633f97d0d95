"""The order check: honest references pass, reordered and forged ones do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.alignment import LayerOrder, OrderCheck, check_order, require_exhibit
from modeldeed.alignment import match as module
from modeldeed.alignment.match import matched_to_themselves
from modeldeed.alignment.without_passports import (
    channel_rows,
    passport_directions,
    without_passports,
)
from modeldeed.errors import EvidenceError, SuspectError
from modeldeed.passport.evidence.signature import claimed_bits, passport_rows, project
from modeldeed.suspects import open_weights

State = dict[str, Tensor]


def host(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 24, 3, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 40, 3), nn.BatchNorm2d(40), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(40), nn.Linear(40, 32),
            nn.GELU(), nn.Linear(32, 5),
        )  # fmt: skip


def learn(model: nn.Module, passport: Passport) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()


class Marked:
    """A retrofitted host, its passport, and the weights that the anchor commits to."""

    def __init__(self, reading: str = "weights") -> None:
        model, self.owner = host(), Owner(bytes(32), "test")
        self.before = {name: t.clone() for name, t in model.state_dict().items()}
        x = torch.rand(48, 3, 9, 9, generator=torch.Generator().manual_seed(1))
        passport = Passport.issue(model, self.owner, example=x, reading=reading)
        if reading == "weights":
            passport.embed([x], steps=3)
        else:
            learn(model, passport)
        self.factors = passport.branch.factors or None
        self.after = {name: t.clone() for name, t in model.state_dict().items()}
        self.anchor = passport.manifest.anchor
        self.key = passport.manifest.model_key(self.owner)

    def check(self, reference: State, before: State | None = None) -> OrderCheck:
        exhibit = open_weights(before or self.before)
        return check_order(self.anchor, self.key, exhibit, open_weights(reference), self.factors)


@pytest.fixture(scope="module")
def marked() -> Marked:
    return Marked()


def reordered(marked: Marked, share: float = 1.0) -> State:
    """The reference with its bound channels in another order: a share of each layer's."""
    state, generator = dict(marked.after), torch.Generator().manual_seed(5)
    for target in marked.anchor.targets:
        order = torch.arange(target.channels)
        some = torch.randperm(target.channels, generator=generator)[
            : round(share * target.channels)
        ]
        order[some] = some.roll(1)
        state[target.weight] = state[target.weight].index_select(target.axis, order)
    return state


@pytest.mark.parametrize("reading", ["weights", "coloured"])
def test_an_honest_reference_stands_in_its_order(reading: str) -> None:
    found = Marked(reading)
    check = found.check(found.after)
    assert check.valid
    assert (check.matched, check.bits) == (104, 104)
    assert [layer.axis for layer in check.layers] == [0, 0, 1]
    assert all(layer.median_similarity > 0.5 > layer.median_other for layer in check.layers)
    assert not any(layer.unmatched for layer in check.layers)
    check.require_valid()
    assert OrderCheck.model_validate_json(check.model_dump_json()) == check


def test_a_reordered_reference_is_no_evidence(marked: Marked) -> None:
    check = marked.check(reordered(marked))
    assert check.matched <= 5
    assert not check.valid
    with pytest.raises(EvidenceError, match=r"of 104 rows .* fewer than 90%.*later checkpoint"):
        check.require_valid()


def test_rows_that_were_moved_are_named_and_the_others_still_count(marked: Marked) -> None:
    check = marked.check(reordered(marked, share=0.1))
    assert check.valid
    assert [len(layer.unmatched) for layer in check.layers] == [2, 4, 4]
    assert check.matched == 94
    assert not marked.check(reordered(marked, share=0.2)).valid


def test_channels_without_a_bit_do_not_count(marked: Marked) -> None:
    first = marked.anchor.targets[0].model_copy(update={"left_out": (0, 3)})
    anchor = marked.anchor.model_copy(update={"targets": (first, *marked.anchor.targets[1:])})
    state = dict(marked.after)
    state["0.weight"] = state["0.weight"].index_select(0, torch.tensor([3, 1, 2, 0, *range(4, 24)]))
    before, after = open_weights(marked.before), open_weights(state)
    check = check_order(anchor, marked.key, before, after)
    assert (check.bits, check.matched, check.layers[0].bits) == (102, 102, 22)


def test_an_exhibit_is_held_to_the_anchor(marked: Marked) -> None:
    require_exhibit(marked.anchor, open_weights(marked.before))
    changed = {**marked.before, "1.bias": marked.before["1.bias"] + 1e-6}
    for other in (changed, marked.after, {"x": torch.ones(2)}):
        with pytest.raises(EvidenceError, match="not the weights that the anchor commits to"):
            marked.check(marked.after, other)
    without = marked.anchor.model_copy(update={"weights_root": None})
    with pytest.raises(EvidenceError, match="commits to no weights"):
        require_exhibit(without, open_weights(marked.before))


def test_a_reference_that_lacks_a_bound_tensor_is_refused(marked: Marked) -> None:
    state = {name: tensor for name, tensor in marked.after.items() if name != "3.weight"}
    with pytest.raises(SuspectError, match=r"3\.weight"):
        marked.check(state)


@pytest.mark.parametrize("value", [0.0, 1.0, torch.nan])
def test_an_anchor_whose_rows_are_all_alike_fixes_no_order(value: float) -> None:
    """Any order would fit it, so none may count as its own."""
    rows = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
    alike = torch.nan_to_num(torch.full((40, 50), value))
    assert not matched_to_themselves(alike, rows)[0].any()
    assert not matched_to_themselves(rows, alike)[0].any()
    pairs = rows.repeat_interleave(2, 0)
    assert not matched_to_themselves(pairs, pairs)[0].any()


@pytest.mark.parametrize("noise", [0.0, 2.0, 6.0, 20.0])
def test_the_fast_way_is_the_assignment_of_all_cosines(
    noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(60, 90, generator=generator)
    rows = start + noise * torch.randn(60, 90, generator=generator)
    cosines = torch.cosine_similarity(rows[:, None], start[None], dim=2).double().numpy()
    _, columns = linear_sum_assignment(-cosines)
    monkeypatch.setattr(module, "_CHUNK", 60 * 7)
    matched, own, other = matched_to_themselves(start, rows)
    assert (matched == (columns == np.arange(60))).all()
    assert np.allclose(own, cosines.diagonal(), atol=1e-6)
    np.fill_diagonal(cosines, -2)
    assert np.allclose(other, cosines.max(1), atol=1e-6)
    # Above a number of channels only rows that fit each other best count, which is stricter here.
    monkeypatch.setattr(module, "_ASSIGNED", 10)
    assert matched_to_themselves(start, rows)[0].sum() <= matched.sum()


def test_rows_of_any_length_can_be_compared() -> None:
    rows = torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
    scales = torch.logspace(-30, 30, 30)[:, None]
    assert matched_to_themselves(rows, rows * scales)[0].all()


def test_the_bits_say_nothing_about_the_order(marked: Marked) -> None:
    """Rows that are nothing but their passport are matched by what else is in them."""
    target = marked.anchor.targets[1]
    bits = claimed_bits(marked.key, 1, target)
    passport = passport_rows(marked.key, 1, target, "gamma", "keyed").float()
    planted = marked.before[target.weight] + bits[:, None, None, None] * passport
    cleaned = without_passports(planted, marked.key, [(1, target)], "keyed")
    for role in ("gamma", "beta"):
        rows = passport_rows(marked.key, 1, target, role, "keyed").float()
        assert project(cleaned, rows, 0).abs().max() < 1e-4
        assert project(planted, rows, 0).abs().max() > 1e-2
    alone = without_passports(passport, marked.key, [(1, target)], "keyed")
    assert alone.abs().max() < 1e-5


def test_directions_are_orthonormal_and_stay_finite_for_equal_passports(marked: Marked) -> None:
    target = marked.anchor.targets[1]
    one, two = passport_directions(marked.key, 1, target, "keyed")
    assert torch.allclose((one * one).sum(1), torch.ones(40), atol=1e-5)
    assert torch.allclose((two * two).sum(1), torch.ones(40), atol=1e-5)
    assert (one * two).sum(1).abs().max() < 1e-5
    thin = target.model_copy(update={"channels": 64, "shape": (64, 1)})
    one, two = passport_directions(marked.key, 1, thin, "keyed")
    assert torch.allclose(one.abs(), torch.ones(64, 1))
    assert not two.any()


def test_a_tied_weight_loses_the_passports_of_all_its_layers(marked: Marked) -> None:
    rows = marked.anchor.targets[2]
    across = rows.model_copy(update={"axis": 0, "channels": 32})
    weight = torch.randn(32, 40, generator=torch.Generator().manual_seed(0))
    cleaned = without_passports(weight, marked.key, [(2, rows), (1, across)], "keyed")
    for ordinal, target in ((2, rows), (1, across)):
        before = channel_rows(weight, target)
        passport = channel_rows(
            passport_rows(marked.key, ordinal, target, "gamma", "keyed"), target
        )
        after = (channel_rows(cleaned, target) * passport).sum(1)
        assert after.abs().mean() < 0.3 * (before * passport).sum(1).abs().mean()


def test_no_bits_are_no_order() -> None:
    layer = LayerOrder(norm="n", weight="w", axis=0, channels=1, bits=0, matched=0, unmatched=(),
                       median_similarity=0.0, median_other=0.0)  # fmt: skip
    check = OrderCheck(bits=0, matched=0, layers=(layer,))
    assert (check.share, check.valid) == (0.0, False)
