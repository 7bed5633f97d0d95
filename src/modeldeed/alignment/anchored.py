"""What was aligned, in the coordinates of the anchor: the registered reference only gives hints.

Whoever registers a reference knows his bits when he makes it. How loud its channels are, how many
of them speak at all, and in which order it holds somebody else's rows beside those of its own start
is his choice, and each of these turns bits of whatever is aligned to it. The anchor's exhibit is
older than the bits. So a suspect is aligned to the reference, which it is most like, and what came
of it is then held against the exhibit alone:

- rows and columns get the exhibit's lengths (the scaling to given marginals is unique, so nothing
  is left of the reference's);
- a row that does not fit its own row of the exhibit best is not read, and neither is such a column;
- channels to sum over that are not there could have been chosen: all choices of as many are paid
  for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modeldeed.alignment.match import matched_to_themselves
from modeldeed.alignment.rewriting import require_bound
from modeldeed.alignment.without_passports import without_passports
from modeldeed.anchor import Target
from modeldeed.passport.evidence.coloured import Factors

__all__ = ["InPlace", "in_place", "of_lengths"]

_STEPS = 60
# A row that fits its own place hardly better than another's could be told to stand in either.
_DOUBT = 0.02


@dataclass(frozen=True)
class InPlace:
    """Weights in the coordinates of an exhibit.

    Attributes:
        weights: what was given; zero where it does not stand where the exhibit has it.
        choices_log2: log2 of the ways in which what is absent could have been chosen, rounded up.
    """

    weights: Mapping[str, Tensor]
    choices_log2: int


def in_place(
    weights: Mapping[str, Tensor],
    exhibit: nn.Module,
    targets: Sequence[Target],
    key: bytes,
    rows: str,
    factors: Factors | None = None,
    *,
    placed: Mapping[str, Sequence[int]] | None = None,
) -> InPlace:
    """Hold aligned weights against an anchor's exhibit.

    Args:
        weights: bound weights by name, and others, which are handed on.
        exhibit: the model that the anchor commits to, with its weights in it.
        targets: the claim's canonical list.
        key: the model key: passports are taken out before rows are compared.
        rows: form of the passports.
        factors: of a coloured reading.
        placed: by weight, dimensions whose channels the exhibit itself gave their places.

    Returns:
        The weights, and what must be paid for what is not there.

    Raises:
        SuspectError: the exhibit's model code has not the weights of the claim.
    """
    state = dict(exhibit.named_parameters(remove_duplicate=False))
    require_bound(state, targets, "the anchor's exhibit")
    made, paid = dict(weights), 0.0
    for name in {target.weight: None for target in targets}:
        bound = [(number, t) for number, t in enumerate(targets) if t.weight == name]
        start = torch.nan_to_num(state[name].detach().float().cpu(), posinf=0.0, neginf=0.0)
        groups = _groups(exhibit, name)
        found = of_lengths(weights[name].float(), start, groups)
        cleaned = without_passports(found, key, bound, rows, factors)
        sure = (placed or {}).get(name, ())
        if 0 not in sure:
            here = _here(start.flatten(1), cleaned.flatten(1))
            found = found * here.view(-1, *[1] * (found.dim() - 1))
        if 1 not in sure:
            found = found * _spread(_columns_here(start, cleaned, groups), found)
        # What was dropped had a say in how loud the rest is.
        made[name] = of_lengths(found, start, groups)
        for _, target in bound:
            paid += _choices(made[name], start, target, groups)
    return InPlace(made, math.ceil(paid))


def of_lengths(weight: Tensor, like: Tensor, groups: int = 1) -> Tensor:
    """Scale rows and columns until they are as long as another weight's.

    Args:
        weight: ``(out, in, *kernel)``.
        like: of the same shape.
        groups: of a convolution: blocks of rows, whose columns are different channels.

    Returns:
        The same for every scaling of ``weight``'s rows and columns; what is zero stays zero.

    Example:
        >>> w, like = torch.randn(6, 8), torch.randn(6, 8)
        >>> scaled = w * (torch.rand(6, 1) + 0.5) * (torch.rand(8) + 0.5)
        >>> torch.allclose(of_lengths(w, like), of_lengths(scaled, like), atol=1e-3)
        True
    """
    blocks, wanted = _blocks(weight, groups), _blocks(like, groups)
    squares, aim = blocks.square().sum(-1), wanted.square().sum(-1)
    one, two = torch.ones_like(squares[:, :, :1]), torch.ones_like(squares[:, :1])
    for _ in range(_STEPS):
        one = _ratio(aim.sum(2, keepdim=True), (squares * two).sum(2, keepdim=True))
        two = _ratio(aim.sum(1, keepdim=True), (squares * one).sum(1, keepdim=True))
    scaled = blocks.double() * (one.sqrt() * two.sqrt())[..., None]
    return scaled.float().reshape(weight.shape)


def _blocks(weight: Tensor, groups: int) -> Tensor:
    """``(groups, rows, columns, kernel)``, float64, with its largest number one."""
    whole = torch.nan_to_num(weight.double(), posinf=0.0, neginf=0.0)
    whole = whole / whole.abs().max().clamp_min(1e-300)
    return whole.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def _ratio(aim: Tensor, had: Tensor) -> Tensor:
    return torch.where(had > 0, aim / had.clamp_min(1e-300), 0.0)


def _groups(exhibit: nn.Module, weight: str) -> int:
    groups = getattr(exhibit.get_submodule(weight.rpartition(".")[0]), "groups", 1)
    return groups if isinstance(groups, int) else 1


def _columns_here(start: Tensor, cleaned: Tensor, groups: int) -> Tensor:
    """Of every block, ``(groups, columns)``."""
    one, two = (w.reshape(groups, -1, *w.shape[1:]).transpose(1, 2) for w in (start, cleaned))
    if start.shape[1] == 1:
        return torch.ones(groups, 1, dtype=torch.bool)  # told by its row
    return torch.stack([_here(a.flatten(1), b.flatten(1)) for a, b in zip(one, two, strict=True)])


def _here(start: Tensor, cleaned: Tensor) -> Tensor:
    return torch.from_numpy(matched_to_themselves(start, cleaned, _DOUBT)[0])


def _spread(columns: Tensor, weight: Tensor) -> Tensor:
    """A mask of every block's columns over a weight, ``(out, in, *kernel)``."""
    rows = columns.repeat_interleave(weight.shape[0] // len(columns), 0)
    return rows.view(*rows.shape, *[1] * (weight.dim() - 2))


def _choices(weight: Tensor, start: Tensor, target: Target, groups: int) -> float:
    """log2 of how many choices there are of as many channels to sum over as are absent."""
    axis = 1 if target.axis == 0 else 2
    there, had = (w.reshape(groups, -1, *w.shape[1:]).flatten(3) if w.dim() > 2 else
                  w.reshape(groups, -1, w.shape[1], 1) for w in (weight, start))  # fmt: skip
    present, existed = (w.abs().amax((axis, 3)) > 0 for w in (there, had))
    total = 0.0
    for here, before in zip(present, existed, strict=True):
        count, absent = int(before.sum()), int((before & ~here).sum())
        # One row that reads one channel and is not there is a mismatch already.
        if absent and (there.shape[axis] > 1 or count > 1):
            total += math.log2(count + 1) + math.log2(math.comb(count, absent))
    return total
