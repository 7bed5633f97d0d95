"""Suspects that are asked, not read: answers for a batch, wherever the model runs."""

from modeldeed.suspects.answering.endpoint import Endpoint
from modeldeed.suspects.answering.endpoint_file import load_endpoint
from modeldeed.suspects.answering.opening import is_answering_path, open_suspect
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.suspects.answering.recording import ask_recorded, require_answering
from modeldeed.suspects.answering.suspect import Answers, Suspect
from modeldeed.suspects.answering.transcript import Transcript
from modeldeed.suspects.answering.transcript_lines import Answered, TranscriptHeader

__all__ = [
    "Answered",
    "Answers",
    "Endpoint",
    "Preparation",
    "Suspect",
    "Transcript",
    "TranscriptHeader",
    "ask_recorded",
    "is_answering_path",
    "load_endpoint",
    "open_suspect",
    "require_answering",
]
