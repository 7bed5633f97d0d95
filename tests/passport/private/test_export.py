"""Exporting a marked host gives what exporting the unmarked architecture gives."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport, TrainingRule
from tests.passport.hosts import make

OWNER = Owner(bytes(range(32)))
HOSTS = pytest.mark.parametrize("name", ["batch2d", "group", "pre-norm"])


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def marked_and_plain(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """A host after some steps of marking, and the unmarked architecture with its weights."""
    host, x = make(name)
    passport = Passport.issue(host, OWNER, example=x[:2], training=TrainingRule(interval=1))
    optimizer = torch.optim.SGD(host.parameters(), lr=0.01)
    for _ in range(2):
        passport.joint_loss(
            x, torch.zeros(len(x)), lambda out, y: (out.flatten(1).mean(1) - y).square().mean()
        ).backward()
        optimizer.step()
    plain, _ = make(name, seed=1)
    plain.load_state_dict(host.state_dict())
    host.eval(), plain.eval()
    passport.private(x)
    return host, plain, x


def operators(program: Any) -> list[tuple[str, str]]:
    return [(node.op, str(node.target)) for node in program.graph.nodes]


@HOSTS
def test_the_exported_graph_is_the_unmarked_ones(name: str) -> None:
    host, plain, x = marked_and_plain(name)
    exported, expected = (torch.export.export(model, (x,)) for model in (host, plain))
    assert operators(exported) == operators(expected)
    assert list(exported.state_dict) == list(expected.state_dict)
    assert torch.equal(exported.module()(x), plain(x))
    assert set(vars(host)) == set(vars(plain))
    for ours, theirs in zip(host.modules(), plain.modules(), strict=True):
        assert set(vars(ours)) == set(vars(theirs))


def test_an_exported_host_still_has_its_private_branch() -> None:
    host, x = make("batch2d")
    passport = Passport.issue(host, OWNER, example=x[:2])
    host.eval()
    before = passport.private(x)
    torch.export.export(host, (x,))
    assert torch.equal(passport.private(x), before)


@pytest.mark.parametrize("name", ["batch2d", "group"])
def test_onnx_is_the_unmarked_ones_and_runs_alike(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    host, plain, x = marked_and_plain(name)
    paths = []
    for label, model in (("marked", host), ("plain", plain)):
        paths.append(tmp_path / f"{label}.onnx")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, about its own internals
            torch.onnx.export(
                copy.deepcopy(model),
                (x,),
                paths[-1],
                dynamo=True,
                verbose=False,
                external_data=False,
            )
    graphs = [onnx.load(path).graph for path in paths]
    assert [node.op_type for node in graphs[0].node] == [node.op_type for node in graphs[1].node]
    assert [t.name for t in graphs[0].initializer] == [t.name for t in graphs[1].initializer]
    session = onnxruntime.InferenceSession(paths[0])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), host(x).detach(), rtol=1e-4, atol=1e-5)
