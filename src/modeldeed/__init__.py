"""Prove who owns a neural network.

Three calls for the common case::

    owner = modeldeed.Owner.generate("Acme Vision")
    passport = modeldeed.Passport.issue(model, owner, example=x)
    loss = passport.joint_loss(x, y)  # in the training loop
    report = modeldeed.verify("suspect.safetensors", passport=passport, owner=owner)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from modeldeed._version import __version__

if TYPE_CHECKING:
    from modeldeed.anchoring.anchoring import Anchoring
    from modeldeed.deed import Deed
    from modeldeed.errors import ModelDeedError
    from modeldeed.inspecting import Inspection, inspect_suspect
    from modeldeed.owner import Owner
    from modeldeed.passport import EmbedReport, JudgeData, Passport, TrainingRule, register_norm
    from modeldeed.plugin.plugin import Plugin
    from modeldeed.querying.query import query
    from modeldeed.resolving import Exhibit, Resolution
    from modeldeed.resolving.resolve import resolve
    from modeldeed.results import Report, Verdict
    from modeldeed.suspects.answering import Preparation
    from modeldeed.triggers.training import TriggerOptions, TriggerTraining
    from modeldeed.triggers.trigger_set import TriggerSet
    from modeldeed.trust import Trust
    from modeldeed.verification import verify

# Where the public names are at home: each is imported when it is first used, so that a program that
# needs one of them does not wait for the others.
_HOMES = {
    "Anchoring": "modeldeed.anchoring.anchoring",
    "Deed": "modeldeed.deed",
    "EmbedReport": "modeldeed.passport",
    "Exhibit": "modeldeed.resolving",
    "Inspection": "modeldeed.inspecting",
    "JudgeData": "modeldeed.passport",
    "ModelDeedError": "modeldeed.errors",
    "Owner": "modeldeed.owner",
    "Passport": "modeldeed.passport",
    "Plugin": "modeldeed.plugin.plugin",
    "Preparation": "modeldeed.suspects.answering",
    "Report": "modeldeed.results",
    "Resolution": "modeldeed.resolving",
    "TrainingRule": "modeldeed.passport",
    "TriggerOptions": "modeldeed.triggers.training",
    "TriggerSet": "modeldeed.triggers.trigger_set",
    "TriggerTraining": "modeldeed.triggers.training",
    "Trust": "modeldeed.trust",
    "Verdict": "modeldeed.results",
    "inspect_suspect": "modeldeed.inspecting",
    "query": "modeldeed.querying.query",
    "register_norm": "modeldeed.passport",
    "resolve": "modeldeed.resolving.resolve",
    "verify": "modeldeed.verification",
}

__all__ = [
    "Anchoring",
    "Deed",
    "EmbedReport",
    "Exhibit",
    "Inspection",
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
    "inspect_suspect",
    "query",
    "register_norm",
    "resolve",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
