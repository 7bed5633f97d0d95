"""What can be probed for an aligned reading: a module, or what runs by itself."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import nn

from modeldeed.alignment.recording import Operation, record

__all__ = ["Probed", "probed"]


@runtime_checkable
class Probed(Protocol):
    """A model that says itself what its weighted operations read and write."""

    def weighted_operations(self, probes: Any) -> list[Operation]:
        """Probe it.

        Args:
            probes: its inputs: a tensor, a tuple of positional or a dict of named ones.

        Returns:
            Operations in the order in which they first run.

        Raises:
            SuspectError: it does not take the probes.
        """
        ...


def probed(model: nn.Module | Probed, probes: Any) -> list[Operation]:
    """What the weighted operations of a model read and write; see `Probed`."""
    if isinstance(model, Probed):
        return model.weighted_operations(probes)
    return record(model, probes)
