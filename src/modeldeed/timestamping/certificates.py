"""Reading certificates: whatever is odd about them becomes one class of error.

cryptography reads a certificate's fields when they are asked for, and has several errors for what
it finds then, not all of them ValueErrors.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from modeldeed.errors import EvidenceError, ModelDeedError

__all__ = ["ODDITIES", "reading_certificates"]

ODDITIES = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@contextmanager
def reading_certificates(whose: str) -> Iterator[None]:
    """Read certificates within; deprecated forms are read without a warning.

    Args:
        whose: the certificates in words.

    Raises:
        EvidenceError: one cannot be read. Deliberate errors pass as they are.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # certificates are of any age
            yield
    except ModelDeedError:
        raise
    except ODDITIES as error:
        raise EvidenceError(f"{whose} cannot be read: {type(error).__name__}: {error}") from error
