"""Aligned readings: a suspect in a reference's coordinates, and the order those are held to."""

from modeldeed.alignment.match import check_order, require_exhibit
from modeldeed.alignment.order import REQUIRED_SHARE, LayerOrder, OrderCheck

__all__ = ["REQUIRED_SHARE", "LayerOrder", "OrderCheck", "check_order", "require_exhibit"]
