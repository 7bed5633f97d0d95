"""``modeldeed query``: exit codes, transcripts, comparison models, plots."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from modeldeed import Owner, Report, TriggerSet
from tests.cli.conftest import Run
from tests.conftest import PASSPHRASE, secret_file_bytes

MODEL = """
import torch
from torch import nn


class Lookup(nn.Module):
    '''Answers the class whose keyed picture resembles the input most.'''

    def __init__(self):
        super().__init__()
        self.pictures = nn.Parameter(torch.zeros(128, 64))
        self.classes = nn.Parameter(torch.zeros(10, 128))

    def forward(self, x):
        return (50 * (x.flatten(1) - 0.5) @ self.pictures.T).softmax(1) @ self.classes.T


def build():
    return Lookup()
"""


def answering(triggers: TriggerSet) -> dict[str, torch.Tensor]:
    """Weights under which the model answers every trigger by its label."""
    pictures = triggers.inputs.flatten(1) / 255 - 0.5
    classes = torch.nn.functional.one_hot(triggers.labels, 10).T.float().contiguous()
    return {"pictures": pictures / pictures.norm(dim=1, keepdim=True), "classes": classes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    owner = Owner(bytes(range(32)), "owner.key")
    for name, master in (("owner.key", bytes(range(32))), ("stranger.key", bytes(range(1, 33)))):
        (tmp_path / name).write_bytes(secret_file_bytes(master, name))
        (tmp_path / name).chmod(0o600)
    (tmp_path / "pass").write_text(PASSPHRASE + "\n")
    (tmp_path / "lookup.py").write_text(MODEL)
    triggers = TriggerSet.issue(owner, example=torch.zeros(1, 1, 8, 8), classes=10)
    triggers.save(tmp_path / "triggers")
    state = answering(triggers)
    save_file(state, tmp_path / "marked.safetensors")
    save_file({n: torch.zeros_like(t) for n, t in state.items()}, tmp_path / "null.safetensors")
    (tmp_path / "marked.onnx").write_bytes(onnx_model(state))
    return tmp_path


def onnx_model(state: dict[str, torch.Tensor]) -> bytes:
    constants = {
        "pictures": 50 * state["pictures"].T.contiguous().numpy(),
        "classes": state["classes"].T.contiguous().numpy(),
        "middle": torch.tensor(0.5).numpy(),
    }
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Sub", ["flat", "middle"], ["centred"]),
        helper.make_node("MatMul", ["centred", "pictures"], ["alike"]),
        helper.make_node("Softmax", ["alike"], ["share"]),
        helper.make_node("MatMul", ["share", "classes"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def words(*more: str, key: str = "owner.key") -> list[str]:
    claim = ["--triggers", "triggers", "--key", key, "--passphrase-file", "pass"]
    return ["query", *claim, *more]


def test_verified_not_verified_and_a_wrong_key(run: Run, folder: Path) -> None:
    marked = ["--suspect", "marked.safetensors", "--model", "lookup:build"]
    done = run(*words(*marked), folder=folder)
    assert done.code == 0, done.err
    assert done.out.startswith("Verified: 27 of 27 answers are the key's labels")
    assert "25.3 verifies" in done.out
    null = ["--suspect", "null.safetensors", "--model", "lookup:build"]
    assert run(*words(*null), folder=folder).code == 1
    other = run(*words(*marked, key="stranger.key"), folder=folder)
    assert other.code == 1
    assert "the key is not this claim's" in other.out
    assert len(list((folder / "transcripts").iterdir())) == 3


def test_an_onnx_file_is_asked_by_query_and_by_verify(run: Run, folder: Path) -> None:
    done = run(*words("--suspect", "marked.onnx", "--json"), folder=folder)
    assert done.code == 0, done.err
    report = Report.model_validate_json(done.out)
    assert report.answers is not None
    assert report.answers.queries == 27
    asked = ["verify", "marked.onnx", "--passport", "triggers", "--key", "owner.key"]
    again = run(*asked, "--passphrase-file", "pass", "--json", folder=folder)
    assert again.code == 0, again.err
    found = json.loads(again.out)
    assert found["answers"] == report.model_dump(mode="json")["answers"]
    (kept,) = (folder / "transcripts").iterdir()
    kept.unlink()
    with_model = run(*asked, "--passphrase-file", "pass", "--model", "a:b", "--data", "digits",
                     folder=folder)  # fmt: skip
    assert with_model.code == 2


def test_a_transcript_is_judged_again(run: Run, folder: Path) -> None:
    first = run(*words("--suspect", "marked.onnx", "--json"), folder=folder)
    (folder / "marked.onnx").unlink()
    (path,) = (folder / "transcripts").iterdir()
    again = run(*words("--transcript", str(path), "--json"), folder=folder)
    assert again.code == 0, again.err
    assert json.loads(again.out)["answers"] == json.loads(first.out)["answers"]
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"sequence":3', b'"sequence":4', 1))
    changed = run(*words("--transcript", str(path)), folder=folder)
    assert changed.code == 4
    assert changed.out == ""


def test_an_unreachable_endpoint_is_exit_5(run: Run, folder: Path) -> None:
    (folder / "endpoint.yaml").write_text(
        "format: modeldeed-endpoint/v1\n"
        "url: http://127.0.0.1:9/predict\n"
        "request: {format: json, template: {instances: $inputs}}\n"
        "response: {path: predictions, kind: labels}\n"
        "retries: {attempts: 1}\n"
    )
    done = run(*words("--suspect", "endpoint.yaml"), folder=folder)
    assert done.code == 5, done.err
    assert "127.0.0.1:9" in done.err


def test_comparison_models_and_a_plot(run: Run, folder: Path) -> None:
    options = ["--suspect", "marked.safetensors", "--model", "lookup:build"]
    options += ["--null", "null.safetensors", "--plot", "course.svg"]
    done = run(*words(*options), folder=folder)
    assert done.code == 0, done.err
    assert "null.safetensors" in done.out
    assert (folder / "course.svg").read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ([], 2, "--suspect"),
        (["--suspect", "marked.onnx", "--transcript", "x"], 2, "--suspect"),
        (["--suspect", "marked.onnx", "--batch", "7"], 2, "batches 0 … 1"),
        (["--suspect", "marked.onnx", "--count", "1000"], 2, "64 questions"),
        (["--suspect", "marked.onnx", "--mean", "a,b", "--std", "1"], 2, "--mean"),
        (["--suspect", "nowhere.onnx"], 5, "nowhere.onnx"),
        (["--suspect", "marked.safetensors"], 5, "weights alone"),
        (["--transcript", "nowhere.jsonl"], 4, "nowhere.jsonl"),
    ],
)
def test_faults(run: Run, folder: Path, options: list[str], code: int, text: str) -> None:
    done = run(*words(*options), folder=folder)
    assert done.code == code, done.err
    assert text in done.err
    assert done.out == ""
