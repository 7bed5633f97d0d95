"""Forensics: what was done to a suspect since its reference was registered, layer by layer.

For people. Nothing here is evidence of ownership, and no verdict uses it.
"""

from modeldeed.inspecting.inspecting import inspect_suspect
from modeldeed.inspecting.results import (
    Explanation,
    Inspection,
    LayerFinding,
    Operation,
    OperationKind,
    Similarity,
    Tampering,
    TensorChange,
)

__all__ = [
    "Explanation",
    "Inspection",
    "LayerFinding",
    "Operation",
    "OperationKind",
    "Similarity",
    "Tampering",
    "TensorChange",
    "inspect_suspect",
]
