"""Every form of a weighted operation in an ONNX graph, held against what ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modeldeed.alignment import Probed
from modeldeed.alignment.onnx_recording import ProbedOnnx
from modeldeed.alignment.recording import Operation, record
from modeldeed.errors import SuspectError
from tests.alignment.exported import exported

onnx: Any = pytest.importorskip("onnx")
onnxruntime: Any = pytest.importorskip("onnxruntime")
node, array = onnx.helper.make_node, onnx.numpy_helper.from_array
FLOAT = onnx.TensorProto.FLOAT


def drawn(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def graph(
    nodes: list[Any], shape: list[Any], dtype: int = FLOAT, ms: bool = False, **tensors: Any
) -> bytes:
    """A model from ``x`` to ``y``."""
    made = onnx.helper.make_graph(
        nodes, "g", [onnx.helper.make_tensor_value_info("x", dtype, shape)],
        [onnx.ValueInfoProto(name="y")], [array(v, k) for k, v in tensors.items()],
    )  # fmt: skip
    sets = [onnx.helper.make_opsetid("", 17)]
    if ms:
        sets.append(onnx.helper.make_opsetid("com.microsoft", 1))
    model = onnx.helper.make_model(made, opset_imports=sets, ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def ran(data: bytes, x: Tensor) -> Tensor:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["y"], {"x": x.numpy()})[0])


IMAGE = ["n", 4, 7, 6]
CONVOLUTIONS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "plain": ("Conv", (5, 4, 3, 3), {}),
    "uneven pads": ("Conv", (5, 4, 3, 3), {"pads": [0, 1, 2, 1], "strides": [2, 1]}),
    "same, upper": ("Conv", (5, 4, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same, lower": ("Conv", (5, 4, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "valid, dilated": ("Conv", (5, 4, 2, 2), {"auto_pad": "VALID", "dilations": [2, 3]}),
    "groups": ("Conv", (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ("Conv", (4, 1, 3, 3), {"group": 4}),
    "transposed": ("ConvTranspose", (4, 5, 3, 3), {"strides": [2, 2], "pads": [1, 0, 1, 2]}),
    "longer": (
        "ConvTranspose", (4, 5, 3, 3),
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    "transposed groups": ("ConvTranspose", (4, 3, 2, 2), {"group": 2, "dilations": [2, 1]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    kind, shape, attributes = CONVOLUTIONS[name]
    out = shape[0] if kind == "Conv" else shape[1] * attributes.get("group", 1)
    data = graph([node(kind, ["x", "w", "b"], ["y"], **attributes)], IMAGE, w=drawn(*shape),
                 b=drawn(out, seed=1))  # fmt: skip
    x = torch.from_numpy(drawn(3, 4, 7, 6, seed=2))
    (found,) = ProbedOnnx(data).weighted_operations(x)
    whole = ran(data, x) - torch.from_numpy(drawn(out, seed=1)).view(-1, 1, 1)
    torch.testing.assert_close(found.outputs, whole.movedim(1, -1).flatten(0, 2))
    torch.testing.assert_close(found.inputs, x.movedim(1, -1).flatten(0, 2))
    assert (found.name, found.geometry[1]) == ("w", (3, *whole.shape[2:]))
    assert found.weight.shape[0] == out
    assert found.weight.shape[1] * found.groups == 4


def products() -> dict[str, bytes]:
    w, b = drawn(4, 6), drawn(6, seed=1)
    constant = node("Constant", [], ["w"], value=array(w, "w"))
    deep = ["n", 3, 4]
    integers = np.clip(np.round(w * 20), -127, 127).astype(np.int8)
    scales, zeros = np.linspace(0.03, 0.06, 6, dtype=np.float32), np.zeros(6, np.int8)
    real = node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1)
    return {
        "gemm": graph([node("Gemm", ["x", "w", "b"], ["y"])], ["n", 4], w=w, b=b),
        "gemm, turned and scaled": graph(
            [node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.5)], ["n", 4], w=w.T.copy(), b=b
        ),
        "product of three dimensions, bias behind": graph(
            [node("MatMul", ["x", "w"], ["m"]), node("Add", ["b", "m"], ["y"])], deep, w=w, b=b
        ),
        "a constant": graph([constant, node("MatMul", ["x", "w"], ["y"])], deep),
        "turned, twice named": graph(
            [node("Transpose", ["v"], ["t"]), node("Identity", ["t"], ["i"]),
             node("MatMul", ["x", "i"], ["y"])], deep, v=w.T.copy(),
        ),
        "8 bits": graph([real, node("MatMul", ["x", "w"], ["y"])], deep, q=integers, s=scales,
                        z=zeros),
        "fused": graph(
            [node("FusedMatMul", ["x", "v"], ["y"], domain="com.microsoft", transB=1, alpha=2.0)],
            deep, ms=True, v=w.T.copy(),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", products())
def test_products(name: str) -> None:
    data = products()[name]
    x = torch.from_numpy(drawn(5, 4) if name.startswith("gemm") else drawn(5, 3, 4))
    (found,) = ProbedOnnx(data).weighted_operations(x)
    whole = ran(data, x).flatten(0, -2)
    bias = torch.zeros(6) if found.bias is None else found.bias
    torch.testing.assert_close(found.outputs + bias, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.inputs @ found.weight.mT, found.outputs)
    assert (found.bias is not None) == (name.startswith(("gemm", "product")))
    assert found.pointwise
    assert found.geometry == ((len(whole),), (len(whole),))
    assert found.name == {"a constant": "", "turned, twice named": "v", "8 bits": "q",
                          "fused": "v"}.get(name, "w")  # fmt: skip


def test_what_is_fused_behind_is_left_out() -> None:
    fused = node("FusedConv", ["x", "w", "b"], ["y"], domain="com.microsoft", activation="Relu")
    w, b = drawn(5, 4, 3, 3), drawn(5, seed=1)
    x = torch.from_numpy(drawn(3, 4, 7, 6, seed=2))
    data = graph([fused], IMAGE, ms=True, w=w, b=b)
    (found,) = ProbedOnnx(data).weighted_operations(x)
    assert bool((found.outputs < 0).any())
    assert found.bias is not None
    whole = ran(data, x).movedim(1, -1).flatten(0, 2)
    torch.testing.assert_close((found.outputs + found.bias).relu(), whole)


class Mixed(nn.Module):
    """Operations of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 8, 3, stride=2, output_padding=1, groups=2)
        self.each = nn.Conv2d(8, 8, 3, groups=8)
        self.line = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.each(self.up(self.first(x).relu()).relu())
        y: Tensor = self.line(x.flatten(2).transpose(1, 2))
        return y


def test_a_file_is_recorded_as_its_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Mixed().eval(), torch.from_numpy(drawn(9, 4, 7, 6))
    file = ProbedOnnx(exported(model, x[:2], tmp_path / "x.onnx").read_bytes())
    assert isinstance(file, Probed)
    found, wanted = file.weighted_operations(x), record(model, x)
    assert len(found) == len(wanted) == 4
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)


def assert_same(one: Operation, other: Operation) -> None:
    for mine, its in ((one.weight, other.weight), (one.inputs, other.inputs),
                      (one.outputs, other.outputs)):  # fmt: skip
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)
    assert (one.geometry, one.groups, one.pointwise) == (
        other.geometry, other.groups, other.pointwise
    )  # fmt: skip


def test_activations_are_held_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = Mixed().eval(), torch.from_numpy(drawn(9, 4, 7, 6))
    data = exported(model, x[:2], tmp_path / "x.onnx").read_bytes()
    whole = ProbedOnnx(data).weighted_operations(x)
    monkeypatch.setattr("modeldeed.alignment.onnx_recording._AT_ONCE", 1)
    for one, other in zip(ProbedOnnx(data).weighted_operations(x), whole, strict=True):
        assert_same(one, other)


def test_a_file_for_a_fixed_number_of_samples() -> None:
    w = drawn(4, 6)
    x = torch.from_numpy(drawn(12, 4))
    data = graph([node("MatMul", ["x", "w"], ["y"])], [3, 4], w=w)
    (found,) = ProbedOnnx(data).weighted_operations(x)
    torch.testing.assert_close(found.outputs, x @ torch.from_numpy(w))
    with pytest.raises(SuspectError, match="12 probes cannot be parted into such groups"):
        ProbedOnnx(graph([node("MatMul", ["x", "w"], ["y"])], [5, 4], w=w)).weighted_operations(x)


def test_inputs_by_name_and_others() -> None:
    w, x = drawn(4, 6), torch.from_numpy(drawn(5, 4))
    file = ProbedOnnx(graph([node("MatMul", ["x", "w"], ["y"])], ["n", 4], w=w))
    (by_name,) = file.weighted_operations({"x": x})
    (in_order,) = file.weighted_operations((x,))
    assert_same(by_name, in_order)
    with pytest.raises(SuspectError, match="takes 1 inputs, 'x'; the claim's anchor knows 1, 'z'"):
        file.weighted_operations({"z": x})
    with pytest.raises(SuspectError, match="the claim's anchor knows 2"):
        file.weighted_operations({"x": x, "mask": x})
    with pytest.raises(SuspectError, match="what w writes cannot be computed"):
        file.weighted_operations(x[:, :3])


def test_files_that_cannot_be_probed() -> None:
    x, w = torch.from_numpy(drawn(5, 4)), drawn(4, 6)
    with pytest.raises(SuspectError, match="no readable ONNX model"):
        ProbedOnnx(b"\xff\xff\xff").weighted_operations(x)
    whole = graph([node("Cast", ["x"], ["f"], to=FLOAT), node("MatMul", ["f", "w"], ["y"])],
                  ["n", 4], onnx.TensorProto.UINT8, w=w)  # fmt: skip
    with pytest.raises(SuspectError, match="what prepares its inputs is within the file"):
        ProbedOnnx(whole).weighted_operations(x)
    unknown = graph([node("Conv9", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])], ["n", 4], w=w)
    with pytest.raises(SuspectError, match="cannot be run by ONNX Runtime"):
        ProbedOnnx(unknown).weighted_operations(x)
    two = [node("Reshape", ["x", "s"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    parted = graph(two, ["n", 4], w=w, s=np.array([-1, 3, 4]))
    with pytest.raises(SuspectError, match="cannot be run on the probes"):
        ProbedOnnx(parted).weighted_operations(x)
    strange = graph([node("Conv", ["x", "w"], ["y"], pads=[2**40] * 4)], IMAGE, w=drawn(5, 4, 3, 3))
    with pytest.raises(SuspectError, match="what w writes cannot be computed"):
        ProbedOnnx(strange).weighted_operations(torch.from_numpy(drawn(3, 4, 7, 6)))


def test_a_file_without_weights_has_no_operations() -> None:
    data = graph([node("Relu", ["x"], ["y"])], ["n", 4])
    assert ProbedOnnx(data).weighted_operations(torch.from_numpy(drawn(5, 4))) == []
