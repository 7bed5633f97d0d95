"""The whole way on digits: anchor, have it dated, train, ship, and be believed for less."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from modeldeed import Passport, TrainingRule, Verdict, verify
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.data import load
from modeldeed.owner import Owner
from modeldeed.statistics import required_matches
from modeldeed.statistics.budget import Budget
from tests.timestamping.authorities import LocalAuthority


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def trained(passport: Passport, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(passport.host.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        chosen = torch.randint(len(images), (64,), generator=generator)
        optimizer.zero_grad()
        passport.joint_loss(images[chosen], labels[chosen]).backward()
        optimizer.step()


def test_from_the_anchor_to_the_verdict(owner: Owner, one: LocalAuthority, tmp_path: Path) -> None:
    digits, folder = load("digits"), tmp_path / "anchor"
    x, example = digits.x_train, digits.x_train[:4]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network()
        Passport.anchor(model, owner, example=example, authority=one.trusted).save(folder, model)

        # Elsewhere, some time later.
        anchoring = Anchoring.load(folder)
        stamp = anchoring.accept(one.stamp((folder / "anchor.tsq").read_bytes()), one.trusted)
        anchoring.save(folder)

        host = network()
        host.load_state_dict(load_file(folder / "unmarked.safetensors"))
        passport = Passport.issue(
            host,
            owner,
            example=example,
            anchor=Anchoring.load(folder),
            training=TrainingRule(interval=2),
        )
        trained(passport, x, digits.y_train, 120)
    passport.save(tmp_path / "passport")
    save_file(host.eval().state_dict(), tmp_path / "shipped.safetensors")
    accuracy = (host(digits.x_test).argmax(1) == digits.y_test).double().mean()
    assert accuracy > 0.9

    claim = {"owner": owner, "trust": [one.trusted]}
    shipped = tmp_path / "shipped.safetensors"
    report = verify(shipped, passport=tmp_path / "passport", **claim)
    assert report.verdict is Verdict.VERIFIED
    assert report.anchor_time is not None
    assert stamp is not None
    assert report.anchor_time.earliest == stamp.earliest
    needed = report.require_signature().required_matches
    assert needed == required_matches(128, Budget(grinding_log2=20)) == 120
    doubting = verify(shipped, passport=tmp_path / "passport", owner=owner)
    assert not doubting.anchored
    assert doubting.require_signature().required_matches == 128
