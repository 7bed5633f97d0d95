"""ONNX files: their answers, their forms of input, and files that are refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from modeldeed.errors import SuspectError
from modeldeed.suspects.answering import Preparation, open_suspect
from modeldeed.suspects.answering.onnx_external import external_locations
from tests.suspects.answering.models import images

WEIGHT = np.random.default_rng(0).normal(size=(192, 5)).astype(np.float32)


def model(
    count: int | str = "N",
    kind: int = TensorProto.FLOAT,
    weight: TensorProto | None = None,
    shape: tuple[Any, ...] = (3, 8, 8),
    opset: int = 17,
) -> onnx.ModelProto:
    """A linear model on flattened images."""
    weights = weight or numpy_helper.from_array(WEIGHT, "w")
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["v"]),
        helper.make_node("MatMul", ["v", "w"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", kind, [count, *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [count, 5])
    graph = helper.make_graph(nodes, "g", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def external(location: str, name: str = "w") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", str(WEIGHT.nbytes))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def saved(folder: Path, made: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def expected(batch: Tensor) -> Tensor:
    return batch.flatten(1).float() @ torch.from_numpy(WEIGHT)


@pytest.mark.parametrize("count", ["N", 1, 4])
def test_answers_are_those_of_the_model(tmp_path: Path, count: int | str) -> None:
    batch = images(7)
    suspect = open_suspect(saved(tmp_path, model(count)))
    assert suspect.group_size == (64 if count == "N" else count)
    found = suspect.answers(batch)
    torch.testing.assert_close(found.probabilities, expected(batch) / 255, rtol=1e-4, atol=1e-4)
    assert (found.labels, suspect.queries) == (tuple(expected(batch).argmax(1).tolist()), 7)


@pytest.mark.parametrize(
    ("kind", "factor"),
    [(TensorProto.UINT8, 1), (TensorProto.DOUBLE, 255), (TensorProto.FLOAT16, 255)],
)
def test_the_input_has_the_type_of_the_file(tmp_path: Path, kind: int, factor: int) -> None:
    batch = images(3)
    found = open_suspect(saved(tmp_path, model(kind=kind))).answers(batch)
    torch.testing.assert_close(
        found.probabilities, expected(batch) / factor, rtol=1e-2, atol=1e-2 * 255 / factor
    )


def test_a_torch_model_exported_to_onnx_answers_as_it(tmp_path: Path) -> None:
    from tests.suspects.answering.models import tiny_model

    path = tmp_path / "tiny.onnx"
    count = torch.export.Dim("count", min=1, max=512)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its own internals
        torch.onnx.export(
            tiny_model().eval(), (torch.zeros(2, 3, 8, 8),), path, dynamo=True, verbose=False,
            dynamic_shapes=({0: count},),
        )  # fmt: skip
    batch = images(9)
    found = open_suspect(path).answers(batch)
    local = open_suspect(tiny_model()).answers(batch)
    torch.testing.assert_close(found.probabilities, local.probabilities, rtol=1e-4, atol=1e-4)
    assert found.labels == local.labels


def test_another_layout_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, model(shape=(8, 8, 3)))
    with pytest.raises(SuspectError, match=r"x has shape \(N, 8, 8, 3\), got \(2, 3, 8, 8\).*NHWC"):
        open_suspect(path).answers(images(2))
    found = open_suspect(path, prepare=Preparation(images="NHWC")).answers(images(2))
    last = images(2).permute(0, 2, 3, 1)
    torch.testing.assert_close(found.probabilities, expected(last) / 255, rtol=1e-4, atol=1e-4)


def test_pixels_are_laid_out_as_well(tmp_path: Path) -> None:
    path = saved(tmp_path, model(shape=(8, 8, 3), kind=TensorProto.UINT8))
    found = open_suspect(path, prepare=Preparation(images="NHWC")).answers(images(2))
    torch.testing.assert_close(found.probabilities, expected(images(2).permute(0, 2, 3, 1)))


def tokens_model() -> onnx.ModelProto:
    names = ("input_ids", "attention_mask")
    nodes = [
        helper.make_node("Mul", list(names), ["p"]),
        helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["N", 3]) for n in names]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "g", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_tokens_with_a_mask(tmp_path: Path) -> None:
    path, tokens = saved(tmp_path, tokens_model()), torch.tensor([[1, 5, 2], [9, 3, 4]])
    assert open_suspect(path, prepare=Preparation(tokens="mapping")).labels(tokens) == (1, 0)
    with pytest.raises(SuspectError, match="tokens='mapping'"):
        open_suspect(path).labels(tokens)


def test_classes_alone_are_answers(tmp_path: Path) -> None:
    made = model()
    made.graph.node.append(helper.make_node("ArgMax", ["y"], ["z"], axis=1, keepdims=0))
    del made.graph.output[:]
    made.graph.output.append(helper.make_tensor_value_info("z", TensorProto.INT64, ["N"]))
    suspect = open_suspect(saved(tmp_path, made))
    assert suspect.answers(images(3)).probabilities is None
    assert suspect.labels(images(3)) == tuple(expected(images(3)).argmax(1).tolist())


# Files that are refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder beside which a file of weights lies."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "outside.bin", folder / "in.bin", folder / "sub" / "in.bin"):
        path.write_bytes(WEIGHT.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    return folder


@pytest.mark.parametrize("location", ["in.bin", "sub/in.bin"])
def test_tensors_may_lie_in_the_files_folder(folder: Path, location: str) -> None:
    suspect = open_suspect(saved(folder, model(weight=external(location))))
    assert suspect.labels(images(2)) == tuple(expected(images(2)).argmax(1).tolist())
    identity = suspect.identity()
    (folder / location).write_bytes((WEIGHT + 1).tobytes())
    assert open_suspect(folder / "model.onnx").identity() != identity


OUTSIDE = ["../outside.bin", "/etc/passwd", "link.bin", "gone.bin", "sub", "", "a\0b", "in.bin\n"]


@pytest.mark.parametrize("location", OUTSIDE)
def test_tensors_elsewhere_are_not_read(folder: Path, location: str) -> None:
    path = saved(folder, model(weight=external(location)))
    with pytest.raises(SuspectError, match=r"no file in its own folder|cannot be followed"):
        open_suspect(path)


def test_hidden_tensors_are_found_wherever_they_are() -> None:
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=external("deep", "c"))],
        "inner", [], [], [external("inner")],
    )  # fmt: skip
    made = model(weight=external("top"))
    branch = helper.make_node("If", ["b"], ["r"], then_branch=inner, else_branch=inner)
    made.graph.node.append(branch)
    many = helper.make_node("Foo", [], [], a=[external("listed")])
    made.graph.node.append(many)
    sparse = made.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external("values"))
    sparse.indices.CopyFrom(external("indices"))
    function = made.functions.add(name="f", domain="d")
    function.node.append(helper.make_node("Constant", [], ["c"], value=external("function", "c")))
    training = made.training_info.add()
    training.algorithm.CopyFrom(inner)
    found = external_locations(memoryview(made.SerializeToString()), "model")
    assert found == ["deep", "function", "indices", "inner", "listed", "top", "values"]


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", "0 bytes"), (b"\x00" * 64, "readable|cannot be run"), (b"\xff" * 64, "no readable ONNX"),
     (b"hello, I am no model", "no readable ONNX"), (b"\x3a\xff\x01x", "cut off")],
)  # fmt: skip
def test_other_bytes_are_no_model(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(SuspectError, match=text):
        open_suspect(tmp_path / "model.onnx")


def test_a_model_that_is_nested_without_end_is_refused() -> None:
    data = b""
    for _ in range(200):  # graph > node > attribute > graph ...
        for tag in (6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2):
            size, length = len(data), b""
            while size > 127:
                length, size = length + bytes([size & 127 | 128]), size >> 7
            data = bytes([tag]) + length + bytes([size]) + data
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    data = bytes([7 << 3 | 2]) + length + bytes([size]) + data
    with pytest.raises(SuspectError, match="nested too deeply"):
        external_locations(memoryview(data), "model")


def test_an_operator_set_of_the_future_is_not_understood(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SuspectError, match=r"ONNX Runtime [\d.]+: .*older operator set"):
        open_suspect(saved(tmp_path, model(opset=99)))
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    for name in ("gone.onnx", "folder.onnx"):
        with pytest.raises(SuspectError, match="no regular file"):
            open_suspect(tmp_path / name)


def test_two_unknown_inputs_are_one_too_many(tmp_path: Path) -> None:
    made = tokens_model()
    made.graph.input[1].name = made.graph.node[0].input[1] = "other"
    with pytest.raises(SuspectError, match="takes 2 inputs"):
        open_suspect(saved(tmp_path, made))
