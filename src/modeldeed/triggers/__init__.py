"""The trigger set: a black-box mark of keyed inputs with keyed answers."""

from modeldeed.triggers.training import TriggerOptions, TriggerTraining
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["TriggerOptions", "TriggerSet", "TriggerTraining"]
