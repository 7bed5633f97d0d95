"""The batched arithmetic of a step, against its obvious twins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport, models
from modeldeed.passport.evidence.signature import project
from modeldeed.passport.private.arithmetic import laid_out_like, read_layers
from modeldeed.passport.private.head_bank import HeadBank
from modeldeed.passport.private.heads import HEADS, make_head
from tests.passport.hosts import digits_like

KEY = bytes(range(32))
SHAPES = [((12, 5, 3, 3), 0), ((4, 12, 3), 1), ((12, 9), 0), ((7, 6), 1)]


def layers(dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor], list[int]]:
    generator = torch.Generator().manual_seed(7)
    weights, passports = [], []
    for shape, _ in SHAPES:
        weight = torch.randn(shape, generator=generator).to(dtype)
        if weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        weights.append(weight.requires_grad_())
        signs = torch.randint(0, 2, (2, *shape), generator=generator) * 2 - 1
        passports.append(signs.to(torch.int8))
    with torch.no_grad():
        weights[0][3] = 0
    return weights, passports, [axis for _, axis in SHAPES]


def test_all_layers_at_once_equal_one_after_another() -> None:
    weights, passports, axes = layers(torch.float64)
    factor = torch.randn(2, 42, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    fast = read_layers(weights, passports, axes)
    slow = torch.cat(
        [project(w, p, a) for w, p, a in zip(weights, passports, axes, strict=True)], dim=1
    )
    torch.testing.assert_close(fast, slow)
    assert (fast[:, 3] == 0).all()  # a zero row
    found = torch.autograd.grad((fast * factor).sum(), weights)
    expected = torch.autograd.grad((slow * factor).sum(), weights)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert (found[0][3] == 0).all()


def test_only_the_weights_asked_for_get_a_gradient() -> None:
    weights, passports, axes = layers(torch.float32)
    weights[1].requires_grad_(False)
    read_layers(weights, passports, axes).sum().backward()
    assert [weight.grad is not None for weight in weights] == [True, False, True, True]


def test_a_weight_changed_between_forward_and_backward_is_noticed() -> None:
    weights, passports, axes = layers(torch.float32)
    loss = read_layers(weights, passports, axes).sum()
    with torch.no_grad():
        weights[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_passports_follow_the_memory_layout_of_their_weight() -> None:
    weights, passports, _ = layers(torch.float32)
    laid = laid_out_like(weights[0], passports[0])
    assert laid[0].stride() == weights[0].stride()
    assert torch.equal(laid, passports[0])
    assert laid_out_like(weights[0], laid) is laid
    assert laid_out_like(weights[1], passports[1]) is passports[1]


def test_readings_are_the_same_after_the_host_changes_its_layout() -> None:
    host = models.resnet_small()
    passport = Passport.issue(host, Owner(KEY), example=digits_like())
    before = passport.branch.readings().flat
    host.to(memory_format=torch.channels_last)
    torch.testing.assert_close(passport.branch.readings().flat, before)


@pytest.mark.parametrize("name", list(HEADS))
def test_stacked_heads_equal_single_ones(name: str) -> None:
    channels = [8, 16, 8, 8, 16, 4]
    heads = [make_head(name, KEY, o, size, len(channels)) for o, size in enumerate(channels)]
    readings = torch.randn(2, sum(channels), generator=torch.Generator().manual_seed(9))
    one_by_one = [head(part) for head, part in zip(heads, readings.split(channels, 1), strict=True)]
    gamma, beta = HeadBank(heads, channels)(readings)
    torch.testing.assert_close(gamma, torch.cat([g for g, _ in one_by_one]))
    torch.testing.assert_close(beta, torch.cat([b for _, b in one_by_one]))


def test_stacking_keeps_one_copy_of_the_heads() -> None:
    heads = [make_head("keyed", KEY, ordinal, 8, 3) for ordinal in range(3)]
    HeadBank(heads, [8, 8, 8])
    storages = {head.inner.untyped_storage().data_ptr() for head in heads}
    assert len(storages) == 1


def test_learned_heads_keep_their_parameters() -> None:
    heads = nn.ModuleList(make_head("learned", KEY, o, 8, 2) for o in range(2))
    before = [id(p) for p in heads.parameters()]
    HeadBank(list(heads), [8, 8])(torch.ones(2, 16))[0].sum().backward()
    assert [id(p) for p in heads.parameters()] == before
    assert all(p.grad is not None for p in heads.parameters())
