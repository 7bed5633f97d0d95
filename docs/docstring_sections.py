"""An extension for the Python reference, where its reader and this package differ.

One example is a section of examples, too; and a method that a class takes from a file of its own
(``joint_loss = joint_loss``, ``issue = classmethod(issuing.issue)``) is a method.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

HEADING = re.compile(r"^(\s*)Example:$", re.MULTILINE)
LITERAL = re.compile(r"::$", re.MULTILINE)
TAKEN = re.compile(r"^(?:(classmethod|staticmethod)\()?([A-Za-z_][\w.]*)\)?$")


class DocstringSections(griffe.Extension):
    """Read *Example:* as the section *Examples:*, and methods from other files as methods."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the heading before the docstring is parsed."""
        if obj.docstring is not None:
            value = HEADING.sub(r"\1Examples:", obj.docstring.value)
            obj.docstring.value = LITERAL.sub(":", value)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Put functions in the place of attributes that are functions."""
        for cls in classes(pkg):
            for name, member in list(cls.members.items()):
                taken = member.is_attribute and not name.startswith("_")
                found = TAKEN.match(str(member.value)) if taken else None
                function = found and named(cls, found[2], loader)
                if found and function:
                    cls.set_member(name, method(function, name, found[1]))


def classes(part: griffe.Object) -> list[griffe.Class]:
    """Every class that is defined in a part of the package."""
    found: list[griffe.Class] = []
    for member in part.members.values():
        if isinstance(member, griffe.Class):
            found.append(member)
        if isinstance(member, griffe.Module | griffe.Class):
            found += classes(member)
    return found


def named(cls: griffe.Class, name: str, loader: griffe.GriffeLoader) -> griffe.Function | None:
    """The function that a name means beside a class, if it means one of this package's."""
    head, dot, tail = name.partition(".")
    try:
        thing = loader.modules_collection[f"{cls.module.resolve(head)}{dot}{tail}"]
        thing = thing.final_target if thing.is_alias else thing
    except (KeyError, griffe.GriffeError):
        return None
    return thing if isinstance(thing, griffe.Function) else None


def method(function: griffe.Function, name: str, kind: str | None) -> griffe.Function:
    """The same function under its name in a class, without the argument that the class fills in."""
    parameters, text = list(function.parameters), function.docstring
    if kind != "staticmethod":
        filled = rf"^( +){parameters.pop(0).name}: .*\n(?:\1 +.*\n)*"
        if text is not None:
            text = griffe.Docstring(re.sub(filled, "", text.value, count=1, flags=re.MULTILINE))
    made = griffe.Function(
        name,
        lineno=function.lineno,
        endlineno=function.endlineno,
        parameters=griffe.Parameters(*parameters),
        returns=function.returns,
        docstring=text,
        runtime=True,
    )
    if text is not None:
        text.parent = made
    made.labels |= {kind} if kind else set()
    return made
