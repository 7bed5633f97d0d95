"""What whoever holds the graph can do to separate a detector from its target.

Every function knows nothing of the mark: it sees the model and benign inputs only, and gives back a
changed copy, or None where it found nothing to change. They are no registered attacks, which work
on any model: these ask for a graph.
"""

from modeldeed.plugin.weaving.separation.channels import (
    remove_inactive,
    remove_silent,
    remove_without_effect,
    remove_without_gradient,
)
from modeldeed.plugin.weaving.separation.connections import (
    drop_sparse,
    drop_unconnected,
    merge_copies,
)
from modeldeed.plugin.weaving.separation.outputs import cut_outputs
from modeldeed.plugin.weaving.separation.switching import straighten

__all__ = [
    "cut_outputs",
    "drop_sparse",
    "drop_unconnected",
    "merge_copies",
    "remove_inactive",
    "remove_silent",
    "remove_without_effect",
    "remove_without_gradient",
    "straighten",
]
