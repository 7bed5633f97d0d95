"""Inserted FC blocks: put blocks of one's own before the head and train them on little data.

IERB inserts an expanded residual block into each layer, for scale and bias each its own; CERB one
that looks at all layers together. Published rule: whatever stands between passports and scales is
the claimant's. Our rule: the head is named in the anchor, and none has room for a block.

Source:
    Y. Chen et al., CVPR 2023, arXiv 2303.11595, there with a tenth of the training data. The
    blocks are built after its description: individual or collective, expanded, residual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from modeldeed.attacks.forgery._fitting import Fit, fit, training_passports
from modeldeed.attacks.forgery.closed_form import random_bits, random_passports
from modeldeed.attacks.forgery.published import (
    Layer,
    PublishedClaim,
    TwoLayers,
    at_unit_length,
    layers_of,
)
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.attacks.forgery.retrained_head import with_trained_heads
from modeldeed.passport.evidence import files

__all__ = ["CollectiveBlocks", "IndividualBlocks"]

_EXPANSION = 2


class _Residual(nn.Module):
    """x + W₂ φ(W₁ x), with a wider middle."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        wide = _EXPANSION * width
        self.inner = nn.Parameter(torch.randn(wide, width, generator=generator) / width**0.5)
        # Zero, so that the head begins undisturbed.
        self.outer = nn.Parameter(torch.zeros(width, wide))

    def forward(self, readings: Tensor) -> Tensor:
        return readings + nn.functional.leaky_relu(readings @ self.inner.T, 0.01) @ self.outer.T


class _Individual(nn.Module):
    """For every layer a block for γ, one for β, and a head."""

    def __init__(self, layers: Sequence[Layer], generator: torch.Generator) -> None:
        super().__init__()
        widths = [layer.channels for layer in layers]
        self.blocks = nn.ModuleList(
            _Residual(width, generator) for width in widths for _ in range(2)
        )
        self.heads = nn.ModuleList(TwoLayers.drawn(width, generator) for width in widths)

    def forward(self, readings: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        made = []
        for index, (head, r) in enumerate(zip(self.heads, readings, strict=True)):
            gamma, beta = at_unit_length(r)
            blocks = self.blocks[2 * index], self.blocks[2 * index + 1]
            made.append(head(torch.stack([blocks[0](gamma), blocks[1](beta)])))
        return made


class _Collective(nn.Module):
    """One block over the readings of all layers, then heads of their own."""

    def __init__(self, layers: Sequence[Layer], generator: torch.Generator) -> None:
        super().__init__()
        self.widths = [layer.channels for layer in layers]
        self.block = _Residual(sum(self.widths), generator)
        self.heads = nn.ModuleList(TwoLayers.drawn(width, generator) for width in self.widths)

    def forward(self, readings: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        together = self.block(torch.cat([at_unit_length(r) for r in readings], dim=1))
        parts = together.split(self.widths, dim=1)
        return [head(part) for head, part in zip(self.heads, parts, strict=True)]


_Build = Callable[[Sequence[Layer], torch.Generator], nn.Module]


def _published(
    stolen: Stolen, build: _Build, rule: Fit, generator: torch.Generator
) -> PublishedClaim:
    layers = layers_of(stolen.model, stolen.example)
    bits = random_bits(layers, generator)
    passports = training_passports(random_passports(layers, generator))
    heads = build(layers, generator)
    fit(stolen.model, stolen.tenth(), passports, bits, heads, rule, generator)
    return PublishedClaim(tuple(p.detach() for p in passports), bits, heads)


def _claims(
    stolen: Stolen, build: _Build, rule: Fit, generator: torch.Generator
) -> tuple[Claim, ...]:
    """Learned heads trained on a tenth; and a state file that has the blocks as well."""
    owner = forger(generator)
    passport = with_trained_heads(stolen, owner, stolen.tenth(), rule, generator)
    blocks = build(layers_of(stolen.model, stolen.example), generator).state_dict()
    added = {f"head.{name}": t.contiguous() for name, t in blocks.items() if "block" in name}
    folder = stolen.folder / build.__name__
    files.save(folder, passport.manifest, owner, {**passport.state(), **added})
    return (
        Claim("heads trained on a tenth of the data", owner, passport, beside_model=True),
        Claim("a state file with inserted blocks", owner, folder, beside_model=True),
    )


@register(
    "inserted-blocks-individual",
    needs=("weights", "a tenth of the data"),
    unknown=("the owner's passports", "the owner's bits", "the owner's heads"),
    source="Chen et al., CVPR 2023 (IERB)",
)
@dataclass(frozen=True, kw_only=True)
class IndividualBlocks(Forgery):
    """IERB: a block in every layer, for scale and bias.

    Attributes:
        fitting: of passports, blocks and heads.
    """

    fitting: Fit = field(default_factory=Fit)

    def published(self, stolen: Stolen, generator: torch.Generator) -> PublishedClaim:
        """A new signature, trained with the blocks."""
        return _published(stolen, _Individual, self.fitting, generator)

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """With trained heads, and with blocks in the state file."""
        return _claims(stolen, _Individual, self.fitting, generator)


@register(
    "inserted-blocks-collective",
    needs=("weights", "a tenth of the data"),
    unknown=("the owner's passports", "the owner's bits", "the owner's heads"),
    source="Chen et al., CVPR 2023 (CERB)",
)
@dataclass(frozen=True, kw_only=True)
class CollectiveBlocks(Forgery):
    """CERB: one block over all layers.

    Attributes:
        fitting: of passports, block and heads.
    """

    fitting: Fit = field(default_factory=Fit)

    def published(self, stolen: Stolen, generator: torch.Generator) -> PublishedClaim:
        """A new signature, trained with the block."""
        return _published(stolen, _Collective, self.fitting, generator)

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """With trained heads, and with the block in the state file."""
        return _claims(stolen, _Collective, self.fitting, generator)
