"""The anchor: everything a claimant could still choose, fixed before the mark exists.

Passports, bits and heads follow from the model key, and the model key follows from the anchor's
bytes (and, once there is one, its timestamp token). Changing a layer list, a rule or a message
therefore changes every secret bit: choosing after the fact is paid for try by try.
"""

from modeldeed.anchor._anchor import Anchor
from modeldeed.anchor.commitments import (
    architecture_digest,
    message_commitment,
    require_text,
    seed_commitment,
)
from modeldeed.anchor.passport_rule import (
    MAX_MESSAGE_BYTES,
    ColouredReading,
    MessageRule,
    PassportRule,
    Target,
)
from modeldeed.anchor.probe_input import ProbeInput, ProbeTensor
from modeldeed.evidence_model import MAX_TEXT

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MAX_TEXT",
    "Anchor",
    "ColouredReading",
    "MessageRule",
    "PassportRule",
    "ProbeInput",
    "ProbeTensor",
    "Target",
    "architecture_digest",
    "message_commitment",
    "require_text",
    "seed_commitment",
]
