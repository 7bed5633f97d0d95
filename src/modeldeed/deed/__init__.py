"""Deeds: signed, dated evidence of whose a model is, that others can check.

A deed names a model's files, commits to its marks without showing them, and fixes the rule of
decision before any dispute. An opening shows a judge one model's secrets.
"""

from modeldeed.deed.checking import DeedCheck
from modeldeed.deed.deed import Deed
from modeldeed.deed.derivation import Countersignature, DerivedFrom
from modeldeed.deed.opening import Opening

__all__ = ["Countersignature", "Deed", "DeedCheck", "DerivedFrom", "Opening"]
