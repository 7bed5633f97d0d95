"""Write the tables of ``docs/cli.md`` from the command line itself.

Run ``python docs/write_cli.py`` to write them anew. Between ``<!-- cli:COMMAND -->`` and
``<!-- /cli -->`` stands what a command takes; the words around it are written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from modeldeed.cli.commands import load

PAGE = Path(__file__).with_name("cli.md")
TABLE = re.compile(r"<!-- cli:(modeldeed[a-z ]*) -->\n.*?<!-- /cli -->", re.DOTALL)
# What reads as code in a help text: options, numbers with commas, names of files and of variables.
CODE = re.compile(
    r"(?<![\w`/.-])(--[a-z][a-z-]*|module:function|FILE(?:=[\w.]+)?|[a-z]+=[\d.]+|\d[\d.]*(?:,[\d.]*\d)+|"
    r"\.(?:png|svg|yaml|json|safetensors|tsr|onnx)\b)"
)


def command(path: str) -> Any:
    """A command of the command line, by its words."""
    _, first, *rest = path.split()
    found: Any = load(first)
    for word in rest:
        found = found.commands[word]
    return found


def taken(parameter: Any) -> str:
    """An argument or option as it is written."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def left_out(parameter: Any) -> str:
    """What holds without it."""
    default = parameter.default
    if parameter.required:
        return "**required**"
    if default in (None, "") or callable(default) or isinstance(default, bool | list | tuple):
        return f"`${parameter.envvar}`" if parameter.envvar else ""
    return f"`{default}`"


def meaning(parameter: Any) -> str:
    """What it is for."""
    words = CODE.sub(r"`\1`", (getattr(parameter, "help", None) or "").strip())
    if parameter.multiple and not re.search("repeat|once for each", words):
        words += " May be repeated."
    return words.replace("|", r"\|")


def table(path: str) -> str:
    """What one command takes, arguments first."""
    parameters = [each for each in command(path).params if each.name != "help"]
    parameters.sort(key=lambda each: each.param_type_name != "argument")
    lines = ["| Option | Left out | Meaning |", "|---|---|---|"]
    lines += [f"| {taken(each)} | {left_out(each)} | {meaning(each)} |" for each in parameters]
    return "\n".join([f"<!-- cli:{path} -->", "", *lines, "", "<!-- /cli -->"])


def written(text: str) -> str:
    """The page with its tables as the command line has them now."""
    return TABLE.sub(lambda match: table(match[1]), text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
