"""Exact p-values and e-values of ownership, what a claim must pay, and intervals.

Everything is computed in logarithms: 4,800 matching bits have p = 2⁻⁴⁸⁰⁰, far under the smallest
double. Natural logarithms are the unit inside; ``log2`` and ``log10`` appear in names where a
value is in another one.
"""

from modeldeed.statistics.batches import average_log_e
from modeldeed.statistics.binomial import log_binomial_tail
from modeldeed.statistics.budget import BLACK_BOX, Budget, required_matches
from modeldeed.statistics.intervals import match_interval, match_rate_sequence
from modeldeed.statistics.logarithms import LN2, LN10
from modeldeed.statistics.match_test import (
    ABSENT_ALPHA,
    LOG_E_ABSENT_THRESHOLD,
    MOST_REFUSED,
    MatchTest,
    least_match_rate,
    log_e_absent_path,
    log_e_path,
)
from modeldeed.statistics.mixtures import (
    ABSENT_PRIOR,
    PRESENT_PRIOR,
    Mixture,
    absent_mixture,
    present_mixture,
)
from modeldeed.statistics.p_values import (
    randomized_p_value,
    randomized_p_values,
    rank_p_value,
    uniformity_p_value,
)
from modeldeed.statistics.planning import information_limit, triggers_per_batch
from modeldeed.statistics.power import Boundaries, Stopping, boundaries, stopping

__all__ = [
    "ABSENT_ALPHA",
    "ABSENT_PRIOR",
    "BLACK_BOX",
    "LN2",
    "LN10",
    "LOG_E_ABSENT_THRESHOLD",
    "MOST_REFUSED",
    "PRESENT_PRIOR",
    "Boundaries",
    "Budget",
    "MatchTest",
    "Mixture",
    "Stopping",
    "absent_mixture",
    "average_log_e",
    "boundaries",
    "information_limit",
    "least_match_rate",
    "log_binomial_tail",
    "log_e_absent_path",
    "log_e_path",
    "match_interval",
    "match_rate_sequence",
    "present_mixture",
    "randomized_p_value",
    "randomized_p_values",
    "rank_p_value",
    "required_matches",
    "stopping",
    "triggers_per_batch",
    "uniformity_p_value",
]
