"""The weights an anchor commits to: those of the model before it is marked."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save as serialize_tensors
from torch import Tensor, nn

from modeldeed.anchor import Anchor, architecture_digest
from modeldeed.digests import tensor_root
from modeldeed.errors import OptionError
from modeldeed.storage import write_atomically

__all__ = ["EXHIBIT", "digests_of", "require_weights", "save_exhibit"]

EXHIBIT = "unmarked.safetensors"


def digests_of(model: nn.Module) -> tuple[str, str]:
    """A model's ``weights_root`` and ``architecture`` for an anchor, hexadecimal."""
    state = _state(model)
    return tensor_root(state).hex(), architecture_digest(type(model).__qualname__, state)


def require_weights(model: nn.Module, anchor: Anchor) -> None:
    """Refuse a model that is not the one an anchor commits to.

    Raises:
        OptionError: its architecture or its weights are others.
    """
    root, architecture = digests_of(model)
    if architecture != anchor.architecture:
        raise OptionError(
            "the anchor is of another architecture: names, shapes or types of this model's "
            "tensors, or its class, differ"
        )
    if root != anchor.weights_root:
        raise OptionError(
            f"the anchor commits to other weights than this model's: load those it was made for "
            f"(a folder of an anchor keeps them as {EXHIBIT}), and issue before training"
        )


def save_exhibit(folder: Path, model: nn.Module, anchor: Anchor) -> None:
    """Write the weights an anchor commits to beside it.

    Raises:
        OptionError: the model's are others.
    """
    require_weights(model, anchor)
    # Tied tensors share memory, which the file format does not allow.
    state = {name: tensor.cpu().clone().contiguous() for name, tensor in _state(model).items()}
    write_atomically(folder / EXHIBIT, serialize_tensors(state))


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {n: t.detach() for n, t in model.state_dict().items() if isinstance(t, Tensor)}
