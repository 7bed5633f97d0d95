"""Initializers of an ONNX file as a suspect's weights, and files that nobody should read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeldeed.errors import SuspectError
from modeldeed.suspects import open_weights
from modeldeed.suspects.answering import open_suspect
from modeldeed.suspects.onnx_weights import OnnxWeights, is_onnx

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHT = np.arange(24, dtype=np.float32).reshape(4, 6)


def model(*tensors: Any) -> Any:
    helper = onnx.helper
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [value("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 6])],
        [onnx.numpy_helper.from_array(WEIGHT, "w"), *tensors],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(made: Any, path: Path) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def test_initializers_are_tensors(tmp_path: Path) -> None:
    halves = [onnx.numpy_helper.from_array(WEIGHT.astype(np.float16), "half"),
              onnx.helper.make_tensor("brain", onnx.TensorProto.BFLOAT16, [2], [1.5, -2.0]),
              onnx.numpy_helper.from_array(np.array(7), "number")]  # fmt: skip
    weights = open_weights(saved(model(*halves), tmp_path / "x.onnx"))
    assert isinstance(weights, OnnxWeights)
    assert weights.names() == ["w", "half", "brain", "number"]
    assert (weights.shape("w"), weights.shape("number")) == ((4, 6), ())
    assert torch.equal(weights.tensor("w"), torch.from_numpy(WEIGHT))
    assert weights.tensor("half").dtype is torch.float16
    assert weights.tensor("brain").tolist() == [1.5, -2.0]
    assert int(weights.tensor("number")) == 7
    weights.require_unchanged()


def test_the_digest_is_that_of_the_asked_file(tmp_path: Path) -> None:
    path = saved(model(), tmp_path / "x.onnx")
    weights = open_weights(path)
    with open_suspect(path) as suspect:
        assert weights.digest() == suspect.identity()
    # What was read is what is digested, whatever becomes of the file.
    path.write_bytes(b"other")
    assert torch.equal(weights.tensor("w"), torch.from_numpy(WEIGHT))


def test_tensors_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    onnx.save(model(), path, save_as_external_data=True, location="data", size_threshold=0)
    weights = open_weights(path)
    assert torch.equal(weights.tensor("w"), torch.from_numpy(WEIGHT))
    digest = weights.digest()
    (tmp_path / "data").write_bytes((tmp_path / "data").read_bytes()[::-1])
    assert open_weights(path).digest() != digest
    (tmp_path / "data").write_bytes(bytes(90))
    with pytest.raises(SuspectError, match="a tensor's place in the file beside it"):
        open_weights(path)


def test_files_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = model(onnx.numpy_helper.from_array(WEIGHT, "w"))
    with pytest.raises(SuspectError, match="several initializers of one name"):
        open_weights(saved(twice, tmp_path / "twice.onnx"))
    outside = model()
    tensor = outside.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "../data", 0, 96)
    tensor.ClearField("raw_data")
    (tmp_path / "data").write_bytes(bytes(96))
    (tmp_path / "in").mkdir()
    with pytest.raises(SuspectError, match="no file in its own folder"):
        open_weights(saved(outside, tmp_path / "in" / "x.onnx"))
    for entry in tensor.external_data:
        entry.value = {"location": "data", "offset": "-1"}.get(entry.key, entry.value)
    with pytest.raises(SuspectError, match="a tensor's place"):
        open_weights(saved(outside, tmp_path / "x.onnx"))
    (tmp_path / "no.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(SuspectError, match="no readable ONNX model"):
        open_weights(tmp_path / "no.onnx")
    monkeypatch.setattr("modeldeed.suspects.onnx_weights._MOST_BYTES", 50)
    with pytest.raises(SuspectError, match="the weights of at most 50 are read"):
        open_weights(saved(model(), tmp_path / "large.onnx"))


def test_tensors_that_contradict_themselves(tmp_path: Path) -> None:
    short = onnx.numpy_helper.from_array(WEIGHT, "short")
    short.raw_data = short.raw_data[:-4]
    words = onnx.helper.make_tensor("words", onnx.TensorProto.STRING, [1], [b"x"])
    huge = onnx.TensorProto(name="huge", data_type=1, dims=[2**40, 2**20])
    odd = onnx.TensorProto(name="odd", data_type=99, dims=[1], raw_data=b"1234")
    weights = open_weights(saved(model(short, words, huge, odd), tmp_path / "x.onnx"))
    for name in ("short", "words", "huge", "odd"):
        with pytest.raises(SuspectError, match=f"{name} cannot be read"):
            weights.tensor(name)
    assert is_onnx(tmp_path / "X.ONNX")


def test_local_functions_are_written_out(tmp_path: Path) -> None:
    helper, made = onnx.helper, model()
    sets = [helper.make_opsetid("", 17)]
    inner = helper.make_node("MatMul", ["a", "b"], ["c"])
    made.functions.append(helper.make_function("own", "F", ["a", "b"], ["c"], [inner], sets))
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.graph.node[0].op_type, made.graph.node[0].domain = "F", "own"
    weights = OnnxWeights(saved(made, tmp_path / "x.onnx"))
    assert [node.op_type for node in weights.proto.graph.node] == ["MatMul"]
    assert weights.names() == ["w"]


def nested(levels: int, calls: int = 2, *, circle: bool = False) -> Any:
    """Functions that call each other, each so many times."""
    helper, made = onnx.helper, model()
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for level in range(levels):
        called = (f"F{(level - 1) % levels}", "own") if level or circle else ("Relu", "")
        nodes = [helper.make_node(called[0], ["a"], ["b"], domain=called[1]) for _ in range(calls)]
        for number, node in enumerate(nodes[:-1]):
            node.output[0] = nodes[number + 1].input[0] = f"t{number}"
        made.functions.append(helper.make_function("own", f"F{level}", ["a"], ["b"], nodes, sets))
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.graph.node.append(helper.make_node(f"F{levels - 1}", ["y"], ["z"], domain="own"))
    return made


def test_functions_that_come_to_too_much_are_refused(tmp_path: Path) -> None:
    """Forty short functions would be a million million nodes."""
    for made in (nested(40), nested(3, circle=True), nested(65, 1), nested(2000, 1)):
        with pytest.raises(SuspectError, match=r"nodes written out"):
            open_weights(saved(made, tmp_path / "x.onnx"))
    weights = OnnxWeights(saved(nested(5), tmp_path / "x.onnx"))
    assert len(weights.proto.graph.node) == 1 + 2**5


def test_the_same_bytes_are_not_taken_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many tensors may name one stretch of a file beside; each would be a copy of it."""
    path, made = tmp_path / "x.onnx", model()
    for number in range(40):
        tensor = made.graph.initializer.add()
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1000, np.float32), f"t{number}"))
        onnx.external_data_helper.set_external_data(tensor, "data", 0, 4000)
        tensor.ClearField("raw_data")
    (tmp_path / "data").write_bytes(bytes(4000))
    assert len(open_weights(saved(made, path)).names()) == 41
    monkeypatch.setattr("modeldeed.suspects.onnx_weights._MOST_BYTES", 100_000)
    with pytest.raises(SuspectError, match="more than 100000 bytes together"):
        open_weights(path)


def test_sparse_tensors_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    """ONNX Runtime is handed bytes, and would look for them in the folder it runs in."""
    made = model()
    values = onnx.numpy_helper.from_array(np.ones(2, np.float32), "s")
    onnx.external_data_helper.set_external_data(values, "data", 0, 8)
    values.ClearField("raw_data")
    places = onnx.numpy_helper.from_array(np.arange(2))
    made.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, places, [4]))
    (tmp_path / "data").write_bytes(np.ones(2, np.float32).tobytes())
    weights = OnnxWeights(saved(made, tmp_path / "x.onnx"))
    (taken,) = weights.proto.graph.sparse_initializer
    assert taken.values.data_location == onnx.TensorProto.DEFAULT
    assert taken.values.raw_data == np.ones(2, np.float32).tobytes()
