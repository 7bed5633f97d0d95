"""Endpoint configurations in YAML or JSON files, read strictly."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from modeldeed.errors import MissingExtraError, OptionError, SuspectError
from modeldeed.suspects.answering.endpoint import Endpoint

__all__ = ["SUFFIXES", "load_endpoint"]

SUFFIXES = (".yaml", ".yml", ".json")
_MOST_BYTES = 2**20


def load_endpoint(path: str | Path) -> Endpoint:
    """Read an endpoint's configuration.

    Args:
        path: a file ``.yaml``, ``.yml`` or ``.json`` in format ``modeldeed-endpoint/v1``.

    Raises:
        SuspectError: the file cannot be read.
        OptionError: it is too large, neither YAML nor JSON, has a field twice, aliases, or fields
            that are missing, unknown or out of range. Values are not shown.
        MissingExtraError: PyYAML is not installed and the file is YAML.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise SuspectError(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise OptionError(f"{path} is larger than {_MOST_BYTES} bytes, too large a configuration")
    fields = _parsed(path, data)
    if not isinstance(fields, dict) or "format" not in fields:
        raise OptionError(
            f"{path} is no endpoint's configuration: it lacks 'format: modeldeed-endpoint/v1'"
        )
    return Endpoint.from_fields(fields, str(path))


def _parsed(path: Path, data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)
        return _yaml(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{path} cannot be parsed: {_first_line(error)}") from None


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the field {name!r} stands twice")
    return fields


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _yaml(text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyyaml", "http") from error

    class Strict(yaml.SafeLoader):
        """Plain values only: no aliases, which grow without bound, and no field twice."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise ValueError("aliases (*name) are not taken; write the value out")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if not all(isinstance(key, str) for key in keys):
                raise ValueError("names of fields are texts; put quotes around them")
            _unique([(key, None) for key in keys])
            return super().construct_mapping(node, deep)

    loader = Strict(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is no YAML"
        raise ValueError(f"{problem}{where}") from None
    finally:
        loader.dispose()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
