"""What would it cost to remove a mark from your model? Attacks × strengths, measured.

An audit attacks copies of a model in every way it can, and reads from each what is left of its
marks. One JSON file for each attack, strength and seed makes it resumable.
"""

from modeldeed.audit.audit import audit
from modeldeed.audit.examiners import AnswerExaminer, Examiner, PassportExaminer
from modeldeed.audit.findings import BUDGET, Finding, Word, cheapest, survival
from modeldeed.audit.found import Audit
from modeldeed.audit.records import Cell, LeftOut, MarkInfo, MarkReading, Plan

__all__ = [
    "BUDGET",
    "AnswerExaminer",
    "Audit",
    "Cell",
    "Examiner",
    "Finding",
    "LeftOut",
    "MarkInfo",
    "MarkReading",
    "PassportExaminer",
    "Plan",
    "Word",
    "audit",
    "cheapest",
    "survival",
]
