"""Files and tensors against what was registered, bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from modeldeed import Deed, Owner, Passport, inspect_suspect
from modeldeed.cli import main
from modeldeed.errors import EvidenceError, OptionError, SuspectError
from modeldeed.inspecting import Inspection


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, owner: Owner) -> Path:
    """A folder with a model and its deed."""
    folder = tmp_path_factory.mktemp("registered")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3))
    passport = Passport.issue(model, owner, example=torch.rand(2, 1, 8, 8))
    save_file(model.state_dict(), folder / "model.safetensors")
    Deed.create(folder / "model.safetensors", owner=owner, marks=[passport]).save(folder / "deed")
    return folder


def state(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_the_same_files(registered: Path) -> None:
    path = registered / "model.safetensors"
    alone = inspect_suspect(path, deed=registered / "deed")
    assert (alone.tampering.word, alone.layers) == ("the same files", ())
    assert alone.tampering.identical is None
    found = inspect_suspect(path, path, deed=registered / "deed")
    assert found.tampering.word == "the same files"
    assert {layer.word for layer in found.layers} == {"identical"}
    assert found.explanations[0].words == "all layers are identical"


def test_the_same_tensors_in_another_file(registered: Path, tmp_path: Path) -> None:
    save_file(state(registered), tmp_path / "x.safetensors", metadata={"note": "moved"})
    found = inspect_suspect(tmp_path / "x.safetensors", deed=registered / "deed")
    assert found.tampering.word == "the same tensors"


def test_one_bit_is_found(registered: Path, tmp_path: Path) -> None:
    tensors = state(registered)
    tensors["2.weight"].view(torch.int32).flatten()[5] ^= 1
    save_file(tensors, tmp_path / "x.safetensors")
    found = inspect_suspect(
        tmp_path / "x.safetensors", registered / "model.safetensors", deed=registered / "deed"
    )
    assert found.tampering.word == "other tensors"
    assert [(c.name, c.what) for c in found.tampering.changes] == [("2.weight", "values")]
    assert found.layer("2.weight").word == "changed"
    assert found.layer("0.weight").word == "identical"


def test_what_is_missing_added_cast_or_reshaped_is_named(registered: Path) -> None:
    tensors = state(registered)
    del tensors["1.bias"]
    tensors["extra"] = torch.zeros(3, 3)
    tensors["0.weight"] = tensors["0.weight"].half()
    tensors["1.weight"] = tensors["1.weight"][:15]
    found = inspect_suspect(tensors, registered / "model.safetensors")
    assert {c.name: c.what for c in found.tampering.changes} == {
        "1.bias": "missing",
        "extra": "added",
        "0.weight": "type",
        "1.weight": "shape",
    }
    assert found.layer("extra").word == "added"
    cast = found.layer("0.weight")
    assert (cast.kinds, cast.operations[0].detail) == (("cast",), "fp16, stored as float16")


def test_wrapped_and_renamed_models_are_recognized(registered: Path) -> None:
    tensors = state(registered)
    wrapped = inspect_suspect(
        {f"module.{name}": t for name, t in tensors.items()}, registered / "model.safetensors"
    )
    assert {layer.word for layer in wrapped.layers} == {"identical"}
    assert any("module." in note for note in wrapped.notes)
    renamed = inspect_suspect(
        {f"body.{n}_{name}": t for n, (name, t) in enumerate(tensors.items())},
        registered / "model.safetensors",
    )
    assert {layer.word for layer in renamed.layers} == {"identical"}
    assert any("other names" in note for note in renamed.notes)


def test_a_reference_that_the_deed_does_not_name_is_refused(
    registered: Path, tmp_path: Path
) -> None:
    tensors = state(registered)
    tensors["0.weight"] += 1
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(EvidenceError, match="not the model that the deed names"):
        inspect_suspect(
            registered / "model.safetensors", tmp_path / "x.safetensors", deed=registered / "deed"
        )


def test_pickles_are_not_opened(registered: Path, tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3, 3)}, tmp_path / "x.pt")
    with pytest.raises(SuspectError, match="pickle"):
        inspect_suspect(tmp_path / "x.pt", registered / "model.safetensors")
    with pytest.raises(OptionError, match="registered model"):
        inspect_suspect(registered / "model.safetensors")


def test_values_that_are_no_numbers_do_no_harm(registered: Path) -> None:
    tensors = state(registered)
    tensors["2.weight"][0] = float("nan")
    tensors["0.weight"][0, 0, 0, 0] = float("inf")
    found = inspect_suspect(tensors, registered / "model.safetensors")
    assert found.layer("2.weight").word == "changed"
    assert Inspection.model_validate_json(found.model_dump_json()) == found


def test_names_cannot_write_over_a_terminal(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    named = "\x1b[2J\x1b[31mall is well\x07\n0.weight"
    save_file({**state(registered), named: torch.zeros(4, 4)}, tmp_path / "s.safetensors")
    arguments = ["inspect", str(tmp_path / "s.safetensors")]
    reference = ["--reference", str(registered / "model.safetensors")]
    monkeypatch.setattr("sys.argv", ["modeldeed", *arguments, *reference])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "all is well" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)
