"""Schedules: which samples go where, when, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modeldeed import Owner, Passport, TrainingRule
from modeldeed.errors import OptionError
from modeldeed.passport.private.step import batch_size, portion
from tests.passport.hosts import images, make


@given(share=st.floats(0.01, 1.0), samples=st.integers(1, 500))
def test_pair_gives_everything_public_and_a_rounded_up_share_private(
    share: float, samples: int
) -> None:
    split = TrainingRule(share=share).split(samples)
    taken = split.private[1]
    assert split.public == (0, samples)
    assert taken == min(samples, max(2, math.ceil(share * samples)))


@given(share=st.floats(0.01, 0.9), samples=st.integers(20, 500))
def test_reuse_parts_the_batch(share: float, samples: int) -> None:
    split = TrainingRule(schedule="reuse", share=share).split(samples)
    assert split.private[0] == 0
    assert split.private[1] == split.public[0]
    assert split.public[1] == samples


@pytest.mark.parametrize("schedule", ["pair", "reuse"])
@pytest.mark.parametrize("samples", [4, 5, 33])
def test_a_small_last_batch_still_has_batch_statistics(schedule: str, samples: int) -> None:
    host = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    x, y = torch.randn(samples, 12), torch.arange(samples) % 4
    rule = TrainingRule(schedule=schedule, share=0.03)
    passport = Passport.issue(host, Owner(bytes(32)), example=x, training=rule)
    assert torch.isfinite(passport.joint_loss(x, y))  # one sample would be refused by torch
    assert passport.joint(x)[1].shape == (2, 4)


def test_reuse_of_everything_is_refused() -> None:
    with pytest.raises(OptionError, match="leaves none of 3 samples"):
        TrainingRule(schedule="reuse", share=0.9).split(3)


def test_the_share_left_out_is_all_or_half() -> None:
    assert TrainingRule().share == 1
    assert TrainingRule(schedule="reuse").share == 0.5


def test_the_weight_rises_over_the_warmup() -> None:
    assert [TrainingRule().strength(step) for step in (0, 5)] == [1, 1]
    assert [TrainingRule(warmup=3).strength(step) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]


def test_due_steps() -> None:
    def steps(**rule: object) -> list[int]:
        return [s for s in range(8) if TrainingRule(**rule).due(s)]

    assert steps(schedule="pair", interval=4) == [0, 4]
    assert steps(schedule="reuse", interval=3) == [0, 3, 6]
    assert steps(schedule="alternate") == [1, 3, 5, 7]
    assert steps(schedule="both", interval=4) == list(range(8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": "sometimes"}, {"share": 0.0}, {"share": 1.1}, {"share": float("nan")},
        {"interval": 0}, {"margin": -1.0}, {"signature_weight": float("nan")},
        {"private_weight": float("inf")}, {"warmup": -1},
        {"batch_dim": -1}, {"target_dim": -1},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        TrainingRule(**wrong)


def test_portion_cuts_nested_batches_and_copies_nothing_whole() -> None:
    x = torch.arange(12).reshape(6, 2)
    nested = {"x": x, "rest": (x[:, 0], "text", torch.tensor(3.0))}
    cut = portion(nested, (2, 5), 6)
    assert cut["x"].tolist() == [[4, 5], [6, 7], [8, 9]]
    assert cut["rest"][0].tolist() == [4, 6, 8]
    assert cut["rest"][1:] == ("text", torch.tensor(3.0))
    assert portion(nested, (0, 6), 6) is nested


def test_batches_that_disagree_are_refused() -> None:
    assert batch_size({"x": torch.zeros(4, 2), "flag": torch.tensor(1)}) == 4
    for wrong in ((torch.zeros(4), torch.zeros(3)), "text"):
        with pytest.raises(OptionError, match="same size along dimension 0"):
            batch_size(wrong)


@pytest.mark.parametrize("schedule", ["pair", "reuse", "alternate", "both"])
def test_joint_loss_counts_its_steps_and_runs_the_private_branch_when_due(schedule: str) -> None:
    host, x = make("batch2d")
    rule = TrainingRule(schedule=schedule, share=0.5, interval=3)
    passport = Passport.issue(host, Owner(bytes(32)), example=x, training=rule)
    host.train()
    y = torch.zeros(len(x)).long()
    private, public = [], []
    for _ in range(6):
        seen = passport.branch.statistics["norm1"].count, int(host.norm1.num_batches_tracked)
        passport.joint_loss(x, y).backward()
        private.append(passport.branch.statistics["norm1"].count - seen[0])
        public.append(int(host.norm1.num_batches_tracked) - seen[1])
    assert private == {
        "pair": [1, 0, 0, 1, 0, 0], "reuse": [1, 0, 0, 1, 0, 0],
        "alternate": [0, 1, 0, 1, 0, 1], "both": [1] * 6,
    }[schedule]  # fmt: skip
    assert public == ([1, 0, 1, 0, 1, 0] if schedule == "alternate" else [1] * 6)
    assert passport.steps == 6


def test_joint_returns_the_first_samples_of_the_private_branch() -> None:
    host, _ = make("group")
    x = images(10)
    rule = TrainingRule(share=0.25)
    passport = Passport.issue(host, Owner(bytes(32)), example=x, training=rule)
    host.eval()
    public, private = passport.joint(x)
    assert public.shape == (10, 5)
    torch.testing.assert_close(private, passport.private(x)[:3])


def test_learned_heads_are_trained_through_parameters() -> None:
    host, x = make("batch2d")
    passport = Passport.issue(host, Owner(bytes(32)), example=x, head="learned")
    own = list(passport.parameters())
    assert [tuple(p.shape) for p in own] == [(3, 12), (12, 3), (5, 20), (20, 5)]
    y = torch.zeros(len(x)).long()
    passport.joint_loss(x, y, F.cross_entropy).backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in own)
    keyed = Passport.issue(host, Owner(bytes(32)), example=x)
    assert list(keyed.parameters()) == []


def test_sequence_first_hosts_are_cut_along_their_own_dimension() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0)  # (T, B, C)
    host = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
    x = torch.randn(5, 8, 16, generator=torch.Generator().manual_seed(0))
    rule = TrainingRule(share=0.5, batch_dim=1, target_dim=1)
    passport = Passport.issue(host, Owner(bytes(32)), example=x, training=rule)
    shapes = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        shapes.append((tuple(outputs.shape), tuple(targets.shape)))
        return (outputs.mean(2) - targets).square().mean()

    passport.joint_loss(x, torch.zeros(5, 8), loss)
    assert shapes == [((5, 4, 16), (5, 4)), ((5, 8, 16), (5, 8))]
    torch.testing.assert_close(passport.joint(x)[1], passport.private(x[:, :4]))
    with pytest.raises(OptionError, match=r"along dimension 2, got shapes \(5, 8\)"):
        batch_size(torch.zeros(5, 8), 2)
