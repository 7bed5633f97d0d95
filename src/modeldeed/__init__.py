"""Prove who owns a neural network.

Three calls for the common case::

    owner = modeldeed.Owner.generate("Acme Vision")
    passport = modeldeed.Passport.issue(model, owner, example=x)
    loss = passport.joint_loss(x, y)  # in the training loop
    report = modeldeed.verify("suspect.safetensors", passport=passport, owner=owner)
"""

from modeldeed._version import __version__
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.deed import Deed
from modeldeed.errors import ModelDeedError
from modeldeed.owner import Owner
from modeldeed.passport import EmbedReport, JudgeData, Passport, TrainingRule, register_norm
from modeldeed.plugin.plugin import Plugin
from modeldeed.querying.query import query
from modeldeed.resolving import Exhibit, Resolution, resolve
from modeldeed.results import Report, Verdict
from modeldeed.suspects.answering import Preparation
from modeldeed.triggers.training import TriggerOptions, TriggerTraining
from modeldeed.triggers.trigger_set import TriggerSet
from modeldeed.trust import Trust
from modeldeed.verification import verify

__all__ = [
    "Anchoring",
    "Deed",
    "EmbedReport",
    "Exhibit",
    "JudgeData",
    "ModelDeedError",
    "Owner",
    "Passport",
    "Plugin",
    "Preparation",
    "Report",
    "Resolution",
    "TrainingRule",
    "TriggerOptions",
    "TriggerSet",
    "TriggerTraining",
    "Trust",
    "Verdict",
    "__version__",
    "query",
    "register_norm",
    "resolve",
    "verify",
]
