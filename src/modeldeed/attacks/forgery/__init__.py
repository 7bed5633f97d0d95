"""Forgeries: ways to claim a model that is another's, under the published rule and under ours.

One file for each. A forgery names what the forger must have and what he must not be told; it makes
the claim that the published rule (re-implemented in `published`) would examine, where that has
something to be forged, and whatever can be handed in to `modeldeed.verify`. Forged files, deeds
and timestamps are another matter; see the tests of those.
"""

from modeldeed.attacks.forgery.brute_force import BruteForce, chance_of_best, expected_best
from modeldeed.attacks.forgery.claimed_statistics import ClaimedStatistics
from modeldeed.attacks.forgery.closed_form import ClosedForm
from modeldeed.attacks.forgery.doctored_reference import DoctoredReference
from modeldeed.attacks.forgery.fitted_key import FittedKey
from modeldeed.attacks.forgery.inserted_blocks import CollectiveBlocks, IndividualBlocks
from modeldeed.attacks.forgery.judging import Judgement, judged
from modeldeed.attacks.forgery.late_layers import LateLayers
from modeldeed.attacks.forgery.late_message import LateMessage
from modeldeed.attacks.forgery.optimized_passports import OptimizedPassports
from modeldeed.attacks.forgery.permuted_reference import PermutedReference
from modeldeed.attacks.forgery.published import PublishedClaim, PublishedResult, examine
from modeldeed.attacks.forgery.read_off import ReadOff
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, find, names, register
from modeldeed.attacks.forgery.retrained_head import RetrainedHead
from modeldeed.attacks.forgery.singular_vector import SingularVector, share_read
from modeldeed.attacks.forgery.surrogate_keys import SurrogateKeys

__all__ = [
    "BruteForce",
    "Claim",
    "ClaimedStatistics",
    "ClosedForm",
    "CollectiveBlocks",
    "DoctoredReference",
    "FittedKey",
    "Forgery",
    "IndividualBlocks",
    "Judgement",
    "LateLayers",
    "LateMessage",
    "OptimizedPassports",
    "PermutedReference",
    "PublishedClaim",
    "PublishedResult",
    "ReadOff",
    "RetrainedHead",
    "SingularVector",
    "Stolen",
    "SurrogateKeys",
    "chance_of_best",
    "examine",
    "expected_best",
    "find",
    "judged",
    "names",
    "register",
    "share_read",
]
