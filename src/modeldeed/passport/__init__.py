"""The passport: a white-box mark beside every normalization layer.

*Issue* plans it and derives its secrets from the key, *train* adds the private branch and the
signature to a training step, *verify* reads the signature from a suspect's weights.
"""

from modeldeed.passport.evidence.private_check import JudgeData
from modeldeed.passport.host.plan import Plan
from modeldeed.passport.norms.registry import register_norm
from modeldeed.passport.passport import Passport
from modeldeed.passport.private.step import TrainingRule
from modeldeed.passport.retrofit.embed import EmbedReport

__all__ = ["EmbedReport", "JudgeData", "Passport", "Plan", "TrainingRule", "register_norm"]
