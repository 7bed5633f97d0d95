"""Heads: what they compute, what they depend on, and why the skip form is no evidence."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from modeldeed import JudgeData, Owner, Passport, models
from modeldeed.data import digits
from modeldeed.errors import OptionError
from modeldeed.passport.evidence.private_check import check_branch
from modeldeed.passport.private.heads import HEADS, make_head
from modeldeed.results import Support
from modeldeed.training import Recipe, train
from tests.passport.hosts import digits_like

KEY = bytes(range(32))


@pytest.mark.parametrize("name", list(HEADS))
def test_heads_follow_from_key_and_ordinal_alone(name: str) -> None:
    r = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))

    def output(key: bytes, ordinal: int) -> torch.Tensor:
        torch.rand(1)  # the global random state has no say
        gamma, beta = make_head(name, key, ordinal, 16, 8)(r)
        return torch.cat([gamma, beta]).detach()

    assert torch.equal(output(KEY, 5), output(KEY, 5))
    assert not torch.allclose(output(KEY, 5), output(KEY, 6))
    assert not torch.allclose(output(KEY, 5), output(bytes(32), 5))


def test_keyed_head_equals_its_formula() -> None:
    head = make_head("keyed", KEY, 5, 16, 8)
    readings = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    r_gamma, r_beta = readings

    def h(r: torch.Tensor) -> torch.Tensor:
        hidden = head.inner @ (r / r.square().mean().sqrt())
        return head.outer @ torch.where(hidden > 0, hidden, 0.01 * hidden)

    gamma, beta = head(readings)
    torch.testing.assert_close(gamma, head.sign * (1 + 0.5 * torch.tanh(h(r_gamma))))
    torch.testing.assert_close(beta, 0.5 * torch.tanh(h(r_beta)))
    assert list(head.parameters()) == []


def test_signs_are_turned_on_half_the_channels_of_the_later_norms_only() -> None:
    turned = [int((make_head("keyed", KEY, o, 16, 9).sign < 0).sum()) for o in range(9)]
    assert turned == [0] * 6 + [8] * 3
    everywhere = [
        int((make_head("keyed-everywhere", KEY, o, 16, 9).sign < 0).sum()) for o in (0, 8)
    ]
    assert everywhere == [8, 8]


def test_keyed_output_keeps_unit_scale() -> None:
    generator = torch.Generator().manual_seed(2)
    spread = []
    for ordinal in range(20):
        head = make_head("skip", KEY, ordinal, 64, 20)
        gamma, _ = head(torch.randn(2, 64, generator=generator))
        spread.append(torch.atanh((2 * (gamma - 1)).clamp(-0.999, 0.999)).square().mean())
    assert 0.5 < float(torch.stack(spread).mean()) < 1.5


def test_golden_head() -> None:
    """The evidence format: a head's numbers change only with a new name."""
    head = make_head("keyed", KEY, 5, 16, 8)
    numbers = torch.cat([head.inner.flatten(), head.outer.flatten(), head.sign])
    digest = hashlib.sha256(numbers.contiguous().numpy().tobytes()).hexdigest()[:16]
    assert digest == "1acd4564057b4598"


def test_flipping_a_row_with_its_scale_changes_neither_branch() -> None:
    host = models.resnet_small()
    passport = Passport.issue(host, Owner(KEY), example=digits_like())
    host.eval()
    x = digits_like()
    public, private = host(x), passport.private(x)
    with torch.no_grad():
        host.stem.conv.weight[::2] *= -1
        host.stem.norm.weight[::2] *= -1
        host.stem.norm.running_mean[::2] *= -1
        passport.branch.statistics["stem.norm"].mean[::2] *= -1
    torch.testing.assert_close(host(x), public)
    torch.testing.assert_close(passport.private(x), private)


def test_an_unknown_head_is_named() -> None:
    with pytest.raises(OptionError, match="head 'best' is unknown; there are: keyed, "):
        Passport.issue(models.resnet_small(), Owner(KEY), example=digits_like(), head="best")


def trained(head: str) -> tuple[nn.Module, Passport]:
    dataset = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = models.resnet_small()
    passport = Passport.issue(host, Owner(KEY), example=dataset.x_train[:4], head=head)
    for _ in train(host, dataset, Recipe(epochs=8), passport=passport):
        pass
    return host, passport


def test_a_skip_head_proves_nothing_and_the_check_says_so() -> None:
    host, passport = trained("skip")
    data = digits()
    judge = JudgeData(data.x_train[:256], data.x_test[:256], data.y_test[:256])
    evidence = check_branch(host, passport.manifest.anchor, passport._key, judge, decoys=20)
    assert max(evidence.decoys) > 0.85
    assert evidence.word is Support.UNINFORMATIVE
    assert "hardly depends on the key" in evidence.reason


def test_no_head_depends_on_the_size_of_the_readings() -> None:
    """They grow fivefold while the signature is trained; a learned head was thrown off by it."""
    r = torch.randn(2, 16, generator=torch.Generator().manual_seed(3))
    for name in HEADS:
        head = make_head(name, KEY, 5, 16, 8)
        torch.testing.assert_close(head(8 * r), head(r))
