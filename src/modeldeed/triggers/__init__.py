"""The trigger set: a black-box mark of keyed inputs with keyed answers."""

import modeldeed.passport  # noqa: F401 - a passport may have triggers; its room is loaded first
from modeldeed.triggers.training import TriggerOptions, TriggerTraining
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["TriggerOptions", "TriggerSet", "TriggerTraining"]
