"""The secret that an endpoint wants to see: from a file or an environment variable, never shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

from modeldeed.errors import OptionError

__all__ = ["Secret", "looks_secret"]

_MOST_BYTES = 16 * 2**10
_WORDS = re.compile(
    r"(?i)(^|[-_. ])(x|api|access|auth|client|bearer|session)*[-_]?"
    r"(auth|authorization|authentication|token|secret|password|passwd|pwd|cookie|credentials?|key)"
    r"($|[-_. ])"
)


def looks_secret(name: str) -> bool:
    """Tell whether a header or a query field by its name holds a secret.

    Example:
        >>> [looks_secret(name) for name in ("X-Api-Key", "Authorization", "X-Model", "tokens")]
        [True, True, False, False]
    """
    return _WORDS.search(name) is not None


class Secret:
    """A secret text that no ``repr``, error or log shows.

    Args:
        text: printable ASCII without white space.
        source: where it came from, for errors.

    Raises:
        OptionError: it is empty, too long, or has characters that a header cannot hold; the error
            does not show it.
    """

    __slots__ = ("_text", "source")

    def __init__(self, text: str, source: str) -> None:
        if not text or len(text) > _MOST_BYTES or not all("!" <= c <= "~" for c in text):
            raise OptionError(
                f"{source} holds no usable secret: 1 … {_MOST_BYTES} printable ASCII characters "
                "without spaces are needed"
            )
        self._text, self.source = text, source

    @classmethod
    def from_file(cls, path: Path) -> Secret:
        """Read the secret from a file; white space around it is dropped.

        Raises:
            OptionError: the file cannot be read or holds no usable secret.
        """
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 3)
            return cls(data.decode("ascii").strip(), f"the file {path}")
        except OSError as error:
            raise OptionError(f"the secret's file {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise OptionError(f"the file {path} holds more than plain ASCII text") from None

    @classmethod
    def from_environment(cls, name: str) -> Secret:
        """Read the secret from an environment variable.

        Raises:
            OptionError: the variable is not set or holds no usable secret.
        """
        text = os.environ.get(name)
        if text is None:
            raise OptionError(
                f"the endpoint's secret is expected in the environment variable {name}, which is "
                "not set; export it, or name a file with auth.file"
            )
        return cls(text.strip(), f"the environment variable {name}")

    def reveal(self) -> str:
        """The text itself, for the header only."""
        return self._text

    def redacted(self, text: str) -> str:
        """A text in which the secret, should it stand there, is replaced."""
        return text.replace(self._text, "[secret]")

    def __repr__(self) -> str:
        return f"<secret from {self.source}>"
