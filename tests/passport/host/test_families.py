"""Real architectures: bindings as a reader would choose, private = rebuilt, the host untouched."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.errors import PlanError
from tests.passport.oracle import oracle
from tests.passport.private.test_laws import same, snapshot

pytest.importorskip("transformers")
from tests.passport.host.families import FAMILIES, floats, make

OWNER = Owner(bytes(range(32)), "tests")
MARKED = [name for name in FAMILIES if name != "gemma"]


@pytest.mark.parametrize("name", list(FAMILIES))
def test_norms_bind_as_a_reader_of_the_code_would(name: str) -> None:
    host, batch = make(name)
    family, plan = FAMILIES[name], Passport.plan(host, example=batch)
    found = {t.norm: (t.weight, t.side) for t in plan.targets}
    assert found == {norm: family.expected(norm) for norm in found}
    left = {entry.norm: entry.reason for entry in plan.left_out}
    assert set(left) == set(family.left_out)
    for norm, reason in family.left_out.items():
        assert re.search(reason, left[norm])
    norms = {
        norm
        for norm, module in host.named_modules()
        if re.search("Norm(2d)?$", type(module).__name__) and "parametrizations" not in norm
    }
    assert norms == set(found) | set(left)


@pytest.mark.parametrize("name", MARKED)
def test_private_output_equals_the_rebuilt_network(name: str) -> None:
    host, batch = make(name)
    host(**batch)  # transformers installs hooks of its own in a first forward
    before = snapshot(host)
    passport = Passport.issue(host, OWNER, example=batch)
    with torch.no_grad():
        private, rebuilt = passport.private(batch), oracle(passport)(**batch)
        public = host(**batch)
    assert same(before, snapshot(host))
    for a, b, c in zip(floats(private), floats(rebuilt), floats(public), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
        assert a.shape == c.shape
    assert not torch.allclose(floats(private)[0], floats(public)[0], atol=1e-3), "no difference"


@pytest.mark.parametrize("name", ["resnet", "bert", "llama", "t5", "detr"])
def test_both_branches_train(name: str) -> None:
    host, batch = make(name)
    passport = Passport.issue(host, OWNER, example=batch)
    host.train()
    statistics = [b.clone() for b in host.buffers()]
    loss = sum(t.square().mean() for t in floats(passport.private(batch)))
    assert isinstance(loss, Tensor)
    loss.backward()
    frozen = {
        entry.target.weight for entry in Passport.plan(host, example=batch).planned if entry.frozen
    }
    assert bool(frozen) == (name == "detr")
    for target in passport.branch.targets:
        if target.weight in frozen:
            continue
        gradient = host.get_parameter(target.weight).grad
        assert gradient is not None
        assert float(gradient.abs().sum()) > 0
    assert all(torch.equal(a, b) for a, b in zip(statistics, host.buffers(), strict=True))


def test_a_family_whose_scale_is_an_offset_is_refused_with_the_reason() -> None:
    host, batch = make("gemma")
    with pytest.raises(PlanError, match=r"model\.layers.*and 2 more: .*\(1 \+ weight\?\)"):
        Passport.issue(host, OWNER, example=batch)


def test_torchvision_hosts() -> None:
    torchvision = pytest.importorskip("torchvision")
    hosts: list[nn.Module] = [
        torchvision.models.resnet18(num_classes=5),
        torchvision.models.mobilenet_v3_small(num_classes=5),
        torchvision.models.convnext_tiny(num_classes=5),
    ]
    for host in hosts:
        x = torch.randn(2, 3, 64, 64)
        assert Passport.issue(host, OWNER, example=x).manifest.anchor.targets


def test_timm_hosts() -> None:
    timm = pytest.importorskip("timm")
    for name in ("resnet10t", "mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224"):
        host = timm.create_model(name, num_classes=5, pretrained=False)
        x = torch.randn(2, *host.default_cfg["input_size"])
        plan = Passport.plan(host, example=x)
        assert len(plan.planned) > len(plan.left_out)
        Passport.issue(host, OWNER, example=x)
