"""The exception tree.

Every deliberate error of the package is one of these; each also inherits the built-in that a
caller would expect, and its text says where, what was got against what was expected, and how to
mend it::

    ModelDeedError
    ├── OptionError (ValueError)          an argument outside its range
    ├── DataError (ValueError)            a data set that is missing or malformed
    ├── MissingExtraError (ImportError)   an optional dependency that is not installed
    ├── KeyFileError (ValueError)         a secret file that cannot be opened
    │   └── PassphraseError               ... because the passphrase does not fit
    ├── PlanError (ValueError)            a host that cannot carry a passport as asked
    ├── HostError (RuntimeError)          a host that did not behave as it did when issued
    ├── EvidenceError (ValueError)        evidence that is malformed, altered or contradictory
    └── SuspectError (ValueError)         a suspect that cannot be read
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "EvidenceError",
    "HostError",
    "KeyFileError",
    "MissingExtraError",
    "ModelDeedError",
    "OptionError",
    "PassphraseError",
    "PlanError",
    "SuspectError",
]


class ModelDeedError(Exception):
    """Base of every deliberate error of the package."""


class OptionError(ModelDeedError, ValueError):
    """An argument or option outside its range."""


class DataError(ModelDeedError, ValueError):
    """A data set that is missing, truncated or malformed."""


class MissingExtraError(ModelDeedError, ImportError):
    """An optional dependency that is not installed.

    Args:
        package: the distribution that could not be imported.
        extra: the extra of this package that brings it.

    Example:
        >>> print(MissingExtraError("matplotlib", "report"))
        matplotlib is not installed; it comes with: pip install 'modeldeed[report]'
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; it comes with: pip install 'modeldeed[{extra}]'"
        )
        self.package = package
        self.extra = extra


class KeyFileError(ModelDeedError, ValueError):
    """A secret file that is truncated, malformed, or readable by others."""


class PassphraseError(KeyFileError):
    """A passphrase that does not open the secret file."""


class PlanError(ModelDeedError, ValueError):
    """A host that cannot carry a passport as asked."""


class HostError(ModelDeedError, RuntimeError):
    """A host that did not behave in a call as it did when the passport was issued."""


class EvidenceError(ModelDeedError, ValueError):
    """Evidence that is malformed, altered or contradicts itself."""


class SuspectError(ModelDeedError, ValueError):
    """A suspect that cannot be read: missing, misshapen or unsafe to load."""
