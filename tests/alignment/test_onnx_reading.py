"""Aligned readings of ONNX files: exported, optimized, quantized, and of other origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from modeldeed import JudgeData, Verdict, verify
from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.alignment.onnx_recording import ProbedOnnx
from modeldeed.alignment.reading import read_aligned, twice
from modeldeed.attacks.onnx_round_trip import ExportedModel
from modeldeed.data import load
from modeldeed.errors import OptionError, SuspectError
from modeldeed.statistics import Budget, log_binomial_tail
from modeldeed.suspects import open_weights
from modeldeed.suspects.onnx_weights import OnnxWeights
from tests.alignment.exported import exported, optimized, quantized
from tests.alignment.test_reading import REWRITES, Trained, network

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def trained() -> Trained:
    return Trained()


@pytest.fixture(scope="module")
def moved(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The marked network, permuted and with flipped signs, as an ONNX file."""
    suspect = REWRITES["flipped"](trained.model, trained.x)
    return exported(suspect, trained.x, tmp_path_factory.mktemp("onnx") / "moved.onnx")


def read(path: Path, trained: Trained, number: int = 0, decoys: int = 0) -> AlignedEvidence:
    return read_aligned(
        ProbedOnnx(OnnxWeights(path)), trained.model, trained.claims[0], twice(Budget()),
        base=bytes(32), suspect_digest=bytes([number]) * 32, order=None, decoys=decoys,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["permuted", "scaled", "dummies", "inserted", "folded"])
def test_exported_copies_read_as_their_ancestor(
    name: str, trained: Trained, tmp_path: Path
) -> None:
    suspect = REWRITES[name](trained.model, trained.x)
    found = read(exported(suspect, trained.x, tmp_path / "x.onnx"), trained)
    assert found.matches == found.bits
    assert all(layer.found == layer.channels for layer in found.layers)
    assert min(layer.similarity for layer in found.layers) > 0.999


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
def test_optimized_files_read_as_well(
    level: str, trained: Trained, moved: Path, tmp_path: Path
) -> None:
    suspect = optimized(moved, level, tmp_path / "optimized.onnx")
    found = read(suspect, trained)
    assert found.matches == found.bits
    assert all(layer.source.startswith("onnx::Conv_") for layer in found.layers)


@pytest.mark.parametrize("kind", ["QDQ", "QOperator", "dynamic"])
def test_8_bit_files_read_as_well(kind: str, trained: Trained, moved: Path, tmp_path: Path) -> None:
    suspect = quantized(moved, kind, load("digits").x_train[:128], tmp_path / "8.onnx")
    found = read(suspect, trained)
    assert found.matches >= found.bits - 2
    assert all(layer.source.endswith("_quantized") for layer in found.layers)


def test_a_layout_of_one_machine_cannot_be_read(
    trained: Trained, moved: Path, tmp_path: Path
) -> None:
    suspect = optimized(moved, "ALL", tmp_path / "optimized.onnx")
    if b"com.microsoft.nchwc" not in suspect.read_bytes():
        pytest.skip("this machine has no layout of its own")
    with pytest.raises(SuspectError, match="optimized for one machine's memory layout"):
        read(suspect, trained)


def test_independent_files_read_like_coins(trained: Trained, tmp_path: Path) -> None:
    matches, bits = 0, 0
    for number, other in enumerate(trained.others):
        found = read(exported(other, trained.x, tmp_path / f"{number}.onnx"), trained, number, 99)
        assert found.log2_p > -14
        assert found.decoys.rank_p > 0.01
        matches, bits = matches + found.matches, bits + found.bits
    assert log_binomial_tail(matches, bits) > -8
    assert log_binomial_tail(bits - matches, bits) > -8


def test_a_file_is_verified_by_its_path(trained: Trained, moved: Path) -> None:
    report = verify(
        moved, passport=trained.passport, owner=trained.owner, reference=trained.model,
        unmarked=trained.before, align=True,
    )  # fmt: skip
    found = report.aligned
    assert found is not None
    assert found.unmatched is not None
    assert found.matches == found.bits - found.unmatched
    assert report.suspect_digest == open_weights(moved).digest()
    assert report.warnings[0].startswith("not read directly: ")
    assert found.decoys.best < found.matches


def test_the_reference_needs_model_code(trained: Trained, moved: Path, tmp_path: Path) -> None:
    save_file(dict(trained.model.state_dict()), tmp_path / "reference.safetensors")
    given = {"passport": trained.passport, "owner": trained.owner, "unmarked": trained.before,
             "reference": tmp_path / "reference.safetensors"}  # fmt: skip
    report = verify(moved, **given, reference_model=network(9))  # type: ignore[arg-type]
    assert report.aligned is not None
    report = verify(moved, **given)  # type: ignore[arg-type]
    assert (report.verdict, report.aligned) == (Verdict.INCONCLUSIVE, None)
    assert "no model code that fits the reference" in report.reason


def test_names_that_survive_are_read_directly(trained: Trained, tmp_path: Path) -> None:
    """An exporter that keeps names folds norms into the weights that they name."""
    path = exported(trained.model, trained.x, tmp_path / "x.onnx")
    model = onnx.load(path)
    names = iter(["0.weight", "0.bias", "4.weight", "4.bias"])
    new = {t.name: next(names) for t in model.graph.initializer if "Conv" in t.name}
    for tensor in model.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
    onnx.save(model, path)
    report = verify(
        path, passport=trained.passport, owner=trained.owner, reference=trained.model, align=True
    )
    assert report.signature is not None
    assert report.signature.matches >= report.signature.bits - 2
    assert not any("not read directly" in note for note in report.warnings)


def test_level_2_needs_model_code(trained: Trained, moved: Path) -> None:
    x, y = load("digits").x_train[:64], load("digits").y_train[:64]
    with pytest.raises(OptionError, match="leave out data"):
        verify(moved, passport=trained.passport, owner=trained.owner, reference=trained.model,
               align=True, model=network(0), data=JudgeData(x, x, y))  # fmt: skip


def test_a_round_trip_is_probed_as_its_file(trained: Trained, moved: Path) -> None:
    found = read_aligned(
        ExportedModel(moved.read_bytes()), trained.model, trained.claims[0], twice(Budget()),
        base=bytes(32), suspect_digest=bytes(32), order=None, decoys=0,
    )  # fmt: skip
    assert found.matches == found.bits
