"""Permuted reference: reorder the channels of a stolen model until one's bits match.

The order of channels is nobody's work: a permutation changes no output, and each place of the new
order may take the channel whose row reads as the key wants it. The copy then carries all bits
without any training. Shown as the forger's reference it makes the original look derived from it,
as soon as somebody aligns the two before reading.

Source:
    This project.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, weighted_layers
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.errors import OptionError
from modeldeed.passport import Passport

__all__ = ["PermutedReference", "permuted_to"]

_TOLERANCE = 1e-3


def permuted_to(model: nn.Module, passport: Passport, example: Tensor) -> nn.Module:
    """A copy in whose order of channels a passport's bits match.

    Args:
        model: a plain chain: each layer's outputs are the next one's inputs; not changed.
        passport: issued on a model of this architecture.
        example: a small batch, to check the function with.

    Returns:
        The copy, in evaluation mode; its outputs are those of the model up to rounding.

    Raises:
        OptionError: the model is no plain chain.
    """
    copy = copy_of(model)
    layers = [module for _, module in weighted_layers(copy)]
    branch = passport.branch
    for ordinal, target in enumerate(branch.targets):
        norm = copy.get_submodule(target.norm)
        weight = copy.get_parameter(target.weight)
        place = next((i for i, m in enumerate(layers) if m.weight is weight), len(layers))
        if target.axis != 0 or place + 1 >= len(layers):
            raise OptionError(f"{target.norm}: a permutation needs the layer that reads it")
        secrets = branch.secrets[ordinal]
        order = _order(weight, norm, secrets.passports[0], secrets.bits)
        _reorder(layers[place], norm, layers[place + 1], order)
    with torch.no_grad():
        same = torch.allclose(copy(example), model(example), rtol=_TOLERANCE, atol=_TOLERANCE)
    if not same:
        raise OptionError(
            f"{type(model).__name__} is no plain chain of layers: its function changed with their "
            "channels' order"
        )
    return copy


def _order(weight: Tensor, norm: nn.Module, passport: Tensor, bits: Tensor) -> Tensor:
    """Which channel each place takes, so that as many bits as possible match."""
    rows = weight.detach().double().flatten(1)
    scale = getattr(norm, "weight", None)
    signs = torch.ones(len(rows)) if scale is None else scale.detach().sign()
    rows = rows / rows.norm(dim=1, keepdim=True) * signs[:, None]
    margins = bits.double()[:, None] * (passport.double().flatten(1) @ rows.T)
    # A match counts for more than any margin; among matches the weakest margins are raised.
    gain = (margins > 0).double() + 0.01 * margins.clamp(-3, 3)
    return torch.from_numpy(linear_sum_assignment(gain.numpy(), maximize=True)[1])


def _reorder(layer: nn.Module, norm: nn.Module, reader: nn.Module, order: Tensor) -> None:
    """Reorder a layer's channels, with all that belongs to them."""
    count = len(order)
    with torch.no_grad():
        for module in (layer, norm):
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.dim() and len(tensor) == count:
                    tensor.copy_(tensor[order])
        weight: Tensor = reader.weight  # type: ignore[assignment]
        if weight.shape[1] % count:
            raise OptionError(f"a {type(reader).__name__} does not read {count} channels")
        # Behind a flattening, each channel is some columns side by side.
        columns = weight.reshape(len(weight), count, -1)
        weight.copy_(columns[:, order].reshape(weight.shape))


@register(
    "permuted-reference",
    needs=("weights",),
    unknown=("the owner's key", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class PermutedReference(Forgery):
    """Register a reordered copy as one's reference, and claim the original."""

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """A passport of the forger's, with the copy that carries it."""
        owner = forger(generator)
        passport = Passport.issue(stolen.model, owner, example=stolen.example)
        copy = permuted_to(stolen.model, passport, stolen.example)
        return (Claim("a passport that a reordered copy carries", owner, passport, copy),)
