"""The private branch on a CUDA device: the same numbers, and the device's random state kept."""

from __future__ import annotations

import copy

import pytest
import torch

from modeldeed import JudgeData, Owner, Passport, verify
from modeldeed.passport.evidence.private_check import check_branch
from tests.passport.hosts import HOSTS, digits_like, make

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
OWNER = Owner(bytes(range(32)))


@pytest.mark.parametrize("name", list(HOSTS))
def test_private_output_is_the_cpus(name: str) -> None:
    host, x = make(name)
    passport = Passport.issue(host, OWNER, example=x)
    host.eval()
    expected = passport.private(x)
    host.cuda()  # the secrets follow the host
    torch.testing.assert_close(passport.private(x.cuda()).cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["batch2d", "pre-norm", "pointnet"])
def test_public_branch_and_random_state_are_a_plain_runs(name: str) -> None:
    host, x = make(name)
    host, x = host.cuda(), x.cuda()
    passport = Passport.issue(host, OWNER, example=x)
    plain = copy.deepcopy(host)
    torch.manual_seed(0)
    expected, after = plain(x), torch.cuda.get_rng_state()
    torch.manual_seed(0)
    public, _ = passport.joint(x)
    assert torch.equal(public, expected)
    assert torch.equal(torch.cuda.get_rng_state(), after)


def test_training_verification_and_level_two_run_on_the_device() -> None:
    host, _ = make("resnet")
    host.cuda()
    x = digits_like(64).cuda()
    y = torch.arange(64, device="cuda") % 10
    passport = Passport.issue(host, OWNER, example=x)
    optimizer = torch.optim.Adam(host.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = passport.joint_loss(x, y)
        loss.backward()
        optimizer.step()
    assert verify(host, passport=passport, owner=OWNER).signature.matches > 640
    judge = JudgeData(x, x, y)
    evidence = check_branch(host, passport.manifest.anchor, passport._key, judge, decoys=3)
    assert len(evidence.decoys) == 3
