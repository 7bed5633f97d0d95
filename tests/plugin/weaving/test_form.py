"""What a woven model looks like: names, keys, zeros, export."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx

from modeldeed.plugin.weaving import Weave, weave
from modeldeed.plugin.weaving.freedom import keyed_freedom
from modeldeed.streams import KeyStream
from tests.plugin.weaving.targets import KEY, OTHER_KEY, classes_of, target_of, twin_of


def woven_of(key: bytes = KEY, options: Weave | None = None, **given: object) -> fx.GraphModule:
    target, inputs = target_of("resnet_small")
    return weave(
        target,
        twin_of(target, inputs),
        inputs[:2],
        classes_of(10),
        key=key,
        options=options,
        **given,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("gate", ["mixture", "absorbed"])
def test_names_are_the_targets(gate: str) -> None:
    target, _ = target_of("resnet_small")
    woven = woven_of(gate=gate)
    layers = {n.rpartition(".")[0] for n in woven.state_dict() if not n.startswith("constant_")}
    own = {name.rpartition(".")[0] for name in target.state_dict()}
    if gate == "absorbed":  # one layer became three
        own = own - {"classifier"} | {"classifier.0", "classifier.2"}
    assert layers == own
    assert not any(module.training for module in woven.modules())
    words = ("detect", "twin", "thin", "mixture", "gate", "background", "thresh", "weav")
    attributes = [*woven.state_dict(), *(n for n, _ in woven.named_modules()), *vars(woven)]
    everything = " ".join([*attributes, *(node.name for node in woven.graph.nodes)]).lower()
    assert not [word for word in words if word in everything]


def test_every_layer_grew_and_none_was_added() -> None:
    target, _ = target_of("resnet_small")
    woven = woven_of()
    own = dict(target.named_modules())
    for name, layer in woven.named_modules():
        if hasattr(layer, "weight"):
            assert layer.weight.shape[0] > own[name].weight.shape[0]
            assert type(layer) is type(own[name])


def test_another_key_gives_another_order() -> None:
    one, same, other = woven_of(), woven_of(), woven_of(OTHER_KEY)
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    weights = [m.get_parameter("stem.conv.weight") for m in (one, other)]
    assert not torch.allclose(*weights)
    # The rows are the same, in another order and scale.
    rows = [torch.nn.functional.normalize(w.flatten(1), dim=1) for w in weights]
    assert (rows[0] @ rows[1].T).amax(1).min() > 1 - 1e-5


def test_a_freedom_splits_scales_and_permutes() -> None:
    freedom = keyed_freedom(KeyStream(KEY, "x"), 6, 3, scalable=True, split=0.5)
    assert len(freedom) == 6 + 3 + 3 + 3
    assert torch.bincount(freedom.source)[6:].tolist() == [2, 2, 2]
    assert sorted(torch.bincount(freedom.source)[:6].tolist()) == [1, 1, 1, 2, 2, 2]
    shares = torch.zeros(9, dtype=torch.float64).index_add_(0, freedom.source, freedom.share)
    torch.testing.assert_close(shares, torch.ones(9, dtype=torch.float64))
    assert (freedom.scale > 0.5).all()
    assert (freedom.scale < 2).all()
    assert len(freedom.scale.unique()) == len(freedom)
    still = keyed_freedom(KeyStream(KEY, "x"), 6, 3, scalable=False, split=0)
    assert (still.scale == 1).all()
    assert len(still) == 6 + 3 + 3
    weight = torch.randn(4, 9, 3, dtype=torch.float64)
    noise = torch.randn(4, 15, 3, dtype=torch.float64)
    values = torch.randn(9, 20, dtype=torch.float64)
    copies = freedom.rows(values)
    read = torch.einsum("rck,cn->rkn", freedom.columns(weight, noise), copies)
    torch.testing.assert_close(read, torch.einsum("rck,cn->rkn", weight, values))


def test_filling_leaves_no_zeros() -> None:
    def zeros(options: Weave) -> float:
        weight = woven_of(options=options).get_parameter("stages.2.0.conv1.weight")
        return float((weight == 0).double().mean())

    left, rows, full = zeros(Weave(noise=0)), zeros(Weave()), zeros(Weave(split=1.0))
    assert left > rows > full == 0


@pytest.mark.parametrize("gate", ["mixture", "absorbed"])
def test_it_can_be_exported(gate: str) -> None:
    _, inputs = target_of("resnet_small")
    woven = woven_of(gate=gate)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(woven, (inputs[:4],), dynamic_shapes=({0: batch},))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(inputs), woven(inputs))
        torch.testing.assert_close(copy.deepcopy(woven)(inputs[:1]), woven(inputs[:1]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch itself
def test_onnx_gives_the_same_scores(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    _, inputs = target_of("resnet_small")
    woven = woven_of()
    path = str(tmp_path / "woven.onnx")
    batch = torch.export.Dim("batch", min=2, max=64)
    torch.onnx.export(woven, (inputs[:4],), path, dynamo=True, dynamic_shapes=({0: batch},))
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(scores, woven(inputs).numpy(), rtol=1e-4, atol=1e-4)


def test_scores_do_not_depend_on_the_batch() -> None:
    _, inputs = target_of("resnet_small")
    woven = woven_of().double()
    with torch.no_grad():
        whole = woven(inputs.double())
        single = torch.cat([woven(x[None]) for x in inputs.double()[:6]])
    torch.testing.assert_close(whole[:6], single)
