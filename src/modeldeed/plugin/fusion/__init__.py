"""The fusion: a detector beside a target that stays as it is, answering as one model."""

from modeldeed.plugin.fusion.confidences import usual_confidences
from modeldeed.plugin.fusion.fused_model import FusedModel, fuse
from modeldeed.plugin.fusion.mixture import Mixture
from modeldeed.plugin.fusion.unit_scale import UnitScale

__all__ = ["FusedModel", "Mixture", "UnitScale", "fuse", "usual_confidences"]
