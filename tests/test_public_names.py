"""The public names, and what importing the package must not do."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import modeldeed
from modeldeed.errors import MissingExtraError

PUBLIC = [
    "Anchoring",
    "Deed",
    "EmbedReport",
    "Exhibit",
    "Inspection",
    "JudgeData",
    "ModelDeedError",
    "Owner",
    "Passport",
    "Plugin",
    "Preparation",
    "Report",
    "Resolution",
    "TrainingRule",
    "TriggerOptions",
    "TriggerSet",
    "TriggerTraining",
    "Trust",
    "Verdict",
    "__version__",
    "inspect_suspect",
    "query",
    "register_norm",
    "resolve",
    "verify",
]
OPTIONAL = [
    "matplotlib",
    "jinja2",
    "sklearn",
    "h5py",
    "PIL",
    "httpx",
    "yaml",
    "onnxruntime",
    "typer",
    "rich",
]


def submodules() -> list[ModuleType]:
    found = []
    for entry in pkgutil.walk_packages(modeldeed.__path__, "modeldeed."):
        if entry.name.rpartition(".")[2] == "__main__":
            continue
        try:
            found.append(importlib.import_module(entry.name))
        except MissingExtraError:
            continue
    return found


def test_the_inventory_of_public_names() -> None:
    assert modeldeed.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(modeldeed, name) is not None


def test_every_listed_name_exists_and_is_listed_once() -> None:
    modules = submodules()
    assert len(modules) > 30
    for module in modules:
        listed = getattr(module, "__all__", [])
        assert len(set(listed)) == len(listed), module.__name__
        missing = [name for name in listed if not hasattr(module, name)]
        assert not missing, f"{module.__name__}: {missing}"


def test_every_public_module_lists_its_names() -> None:
    without = [
        module.__name__
        for module in submodules()
        if not module.__name__.rpartition(".")[2].startswith("_") and not hasattr(module, "__all__")
    ]
    assert without == []


def test_importing_is_lean() -> None:
    """No optional package, no device, no global seed, no output, no logging handler."""
    script = f"""
import sys, logging
import modeldeed
assert "torch" not in sys.modules and "pydantic" not in sys.modules  # at once, until it is used
import torch
state = torch.get_rng_state()
threads = torch.get_num_threads()
for name in modeldeed.__all__:
    getattr(modeldeed, name)
assert "scipy.stats" not in sys.modules  # a second by itself
loaded = [name for name in {OPTIONAL!r} if name in sys.modules]
assert not loaded, loaded
assert not torch.cuda.is_initialized()
assert torch.equal(torch.get_rng_state(), state)
assert torch.get_num_threads() == threads
assert not logging.getLogger().handlers
assert not logging.getLogger("modeldeed").handlers
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_name_that_is_not_public_is_an_error_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Pasport'"):
        _ = modeldeed.Pasport
    assert set(PUBLIC) <= set(dir(modeldeed))


def test_type_checkers_see_the_names_where_they_are_at_home() -> None:
    for name in PUBLIC:
        if name != "__version__":
            home = importlib.import_module(modeldeed._HOMES[name])
            assert getattr(home, name) is getattr(modeldeed, name)
    assert set(modeldeed._HOMES) | {"__version__"} == set(PUBLIC)
