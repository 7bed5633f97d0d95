"""Fixtures of the passport's tests."""

from tests.passport.forging import victim

__all__ = ["victim"]
