"""Every public name, error, exit code and option is documented."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import runpy
from typing import Any

import typer

import modeldeed
from modeldeed import errors
from modeldeed.cli import app
from modeldeed.cli.commands import COMMANDS, load
from modeldeed.cli.exit_codes import ExitCode, code_of
from tests.docs.pages import DOCS, WITH_EXAMPLES, as_script, between, read, rows


def test_every_public_name_is_on_the_map() -> None:
    listed = set(re.findall(r"`modeldeed\.(\w+)`", read("docs/index.md")))
    assert listed == set(modeldeed.__all__) | {"data", "models", "training"}


def test_every_error_is_documented_with_its_base_and_exit_code() -> None:
    table = {
        cells[0].strip("`"): cells[1:3]
        for cells in rows(between(read("docs/errors.md"), "## Exceptions", "## Exit codes"))
    }
    assert set(table) == set(errors.__all__)
    for name, (base, code) in table.items():
        cls: type[Exception] = getattr(errors, name)
        assert code_of(cls.__new__(cls)) == int(code), name
        assert base.strip("`") in {parent.__name__ for parent in cls.__mro__[1:]} | {""}, name


def test_every_exit_code_is_documented_wherever_they_are_listed() -> None:
    expected = {str(code.value): code.name for code in ExitCode}
    for text in (
        read("docs/cli.md").partition("## Exit codes")[2],
        between(read("docs/errors.md"), "## Exit codes", "## Warnings"),
    ):
        assert {cells[0]: cells[1].strip("`") for cells in rows(text)} == expected
    table = rows(between(read("README.md"), "On the command line:", "All commands and options"))
    assert [cells[0] for cells in table] == list(expected)


def commands(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """Every command with the long options that it takes itself."""
    options = {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }
    found = {path: options}
    for name, child in getattr(command, "commands", {}).items():
        found.update(commands(child, (*path, name)))
    return found


def test_every_option_is_documented_at_its_command() -> None:
    parts = re.split(r"^## ", read("docs/cli.md"), flags=re.MULTILINE)
    sections = {}
    for part in parts[1:]:
        heading = part.partition("\n")[0].strip("`")
        if heading.startswith("modeldeed "):
            sections[tuple(word for word in heading.split()[1:] if word.islower())] = part
    found = commands(typer.main.get_command(app))
    for name in COMMANDS:
        found.update(commands(load(name), (name,)))
    groups = {path for path, options in found.items() if not options}
    assert set(sections) == set(found) - groups - {()}
    for path, options in found.items():
        text = sections[path] if path in sections else parts[0]
        assert {option for option in options if f"`{option}" not in text} == set(), path
    for path, text in sections.items():
        named = [cells[0].split("`")[1] for cells in rows(text)]
        assert {name for name in named if name.startswith("--")} <= found[path], path
        heading = text.partition("\n")[0].strip("`").split()
        arguments = [name for name in named if not name.startswith("--")]
        assert sorted(arguments) == sorted(word for word in heading[1:] if word.isupper()), path


def test_the_tables_of_the_command_line_are_written_from_it() -> None:
    writer = runpy.run_path(str(DOCS / "write_cli.py"))
    text = read("docs/cli.md")
    assert writer["written"](text) == text, "run: python docs/write_cli.py"
    assert text.count("<!-- cli:") == text.count("## `modeldeed ")


# The Python reference

# Rooms that are internal altogether, whatever they list.
INTERNAL = {"cli"}


def reference() -> list[str]:
    """What the pages under ``docs/api`` are made from."""
    return [
        name
        for page in sorted((DOCS / "api").glob("*.md"))
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def imported(path: str) -> Any:
    """A module, or an attribute of one."""
    try:
        return importlib.import_module(path)
    except ImportError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def referenced() -> list[Any]:
    """Every object that the Python reference documents."""
    found = []
    for path in reference():
        thing = imported(path)
        names = getattr(thing, "__all__", None)
        found += [thing] if names is None else [getattr(thing, name) for name in names]
    return found


def test_every_name_of_every_room_is_in_the_python_reference() -> None:
    known = {id(thing) for thing in referenced()}
    rooms = [entry.name for entry in pkgutil.iter_modules(modeldeed.__path__) if entry.ispkg]
    assert len(rooms) > 15
    for room in set(rooms) - INTERNAL:
        module = importlib.import_module(f"modeldeed.{room}")
        missing = [name for name in module.__all__ if id(getattr(module, name)) not in known]
        assert missing == [], f"add modeldeed.{room} to a page of docs/api: {missing}"


def test_what_the_examples_import_is_in_the_python_reference() -> None:
    known = {id(thing) for thing in referenced()}
    seen = 0
    for page in WITH_EXAMPLES:
        for node in ast.walk(ast.parse(as_script(page))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("model"):
                continue
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                thing = getattr(module, alias.name)
                documented = id(thing) in known or getattr(thing, "__name__", "") in reference()
                assert documented, f"{page.name}: {node.module}.{alias.name}"
                seen += 1
    assert seen > 30


def test_the_python_reference_is_mapped() -> None:
    pages = {page.name for page in (DOCS / "api").glob("*.md")} - {"index.md"}
    table = rows(read("docs/api/index.md"))
    assert {re.findall(r"\((.*)\)", cells[0])[0] for cells in table} == pages
    listed = [name for cells in table for name in re.findall(r"`([^`]+)`", cells[2])]
    assert sorted(listed) == sorted(reference())
    assert len(set(listed)) == len(listed)
