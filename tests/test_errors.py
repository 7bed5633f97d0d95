"""The exception tree: one base, and the built-in a caller would expect."""

from __future__ import annotations

import inspect
import re

import pytest

from modeldeed import errors
from modeldeed.errors import MissingExtraError, ModelDeedError

BASES = {
    "OptionError": ValueError,
    "DataError": ValueError,
    "MissingExtraError": ImportError,
    "KeyFileError": ValueError,
    "PassphraseError": ValueError,
    "PlanError": ValueError,
    "HostError": RuntimeError,
    "EvidenceError": ValueError,
    "SuspectError": ValueError,
}


def test_every_error_is_listed_and_stands_in_the_table() -> None:
    defined = {
        name
        for name, item in vars(errors).items()
        if inspect.isclass(item) and issubclass(item, Exception)
    }
    assert defined == set(errors.__all__) == {"ModelDeedError", *BASES}


@pytest.mark.parametrize(("name", "builtin"), BASES.items())
def test_every_error_is_also_the_expected_built_in(name: str, builtin: type[Exception]) -> None:
    error = getattr(errors, name)
    assert issubclass(error, ModelDeedError)
    assert issubclass(error, builtin)


def test_the_tree_in_the_documentation_is_the_real_one() -> None:
    drawn = re.findall(r"[├└]── (\w+)(?: \((\w+)\))?", errors.__doc__ or "")
    assert {name for name, _ in drawn} == set(BASES)
    for name, builtin in drawn:
        if builtin:
            assert BASES[name].__name__ == builtin
    assert errors.PassphraseError.__bases__ == (errors.KeyFileError,)


def test_a_missing_extra_names_its_installation() -> None:
    error = MissingExtraError("h5py", "data")
    assert "pip install 'modeldeed[data]'" in str(error)
    assert (error.package, error.extra) == ("h5py", "data")
