"""Import of packages that only some readers need."""

import importlib
from types import ModuleType

from modeldeed.errors import MissingExtraError


def import_extra(module: str, package: str, extra: str) -> ModuleType:
    """Import an optional module at its first use.

    Args:
        module: the module to import, dotted.
        package: the distribution it belongs to, as pip calls it.
        extra: the extra of this package that installs it.

    Returns:
        The module.

    Raises:
        MissingExtraError: the distribution is not installed. A distribution that is installed but
            broken raises its own error, which says more.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(package, extra) from error
