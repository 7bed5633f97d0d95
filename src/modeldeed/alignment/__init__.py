"""Aligned readings: a suspect in a reference's coordinates, and the order those are held to."""

from modeldeed.alignment.align import Aligned, AlignedLayer, align
from modeldeed.alignment.match import check_order, require_exhibit
from modeldeed.alignment.order import REQUIRED_SHARE, LayerOrder, OrderCheck
from modeldeed.alignment.probed import Probed
from modeldeed.alignment.probes import probe_inputs, probe_seed

__all__ = [
    "REQUIRED_SHARE",
    "Aligned",
    "AlignedLayer",
    "LayerOrder",
    "OrderCheck",
    "Probed",
    "align",
    "check_order",
    "probe_inputs",
    "probe_seed",
    "require_exhibit",
]
