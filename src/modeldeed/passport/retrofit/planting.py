"""Setting the signature of a trained model by turning its weights, row by row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from modeldeed.passport.private.branch import PrivateBranch

__all__ = ["plant"]

_REACH = 0.3


def plant(branch: PrivateBranch, margin: float, share: float = 1.0) -> None:
    """Turn every row of the bound weights as little as makes its bit read with the margin.

    Args:
        branch: whose host is changed in place.
        margin: m in standard deviations; a thin layer is asked for no more than 0.3 √D, a turn
            by 17 degrees, of the √D that a row pointing exactly at its passport would read.
        share: part of that margin to ask for, in (0, 1].
    """
    with torch.no_grad():
        sizes = [target.channels for target in branch.targets]
        signs = torch.split(branch.signed_bits(), sizes)
        for target, secret, sign in zip(branch.targets, branch.secrets, signs, strict=True):
            weight = branch.host.get_parameter(target.weight)
            passport = secret.passports[0].movedim(target.axis, 0).flatten(1).float()
            rows = weight.movedim(target.axis, 0)
            aim = share * min(margin / math.sqrt(target.fan), _REACH)
            turned = _turned(rows.flatten(1).float(), passport * sign[:, None], aim)
            rows.copy_(turned.view(rows.shape))


def _turned(rows: Tensor, towards: Tensor, aim: float) -> Tensor:
    """Rows whose cosine with a direction is at least ``aim``; of the same length, and nearest.

    Args:
        rows: shape ``(C, D)``.
        towards: directions of length √D, or 0 for a row to be left alone.
        aim: wanted cosine.
    """
    unit = towards / math.sqrt(rows.shape[1])
    length = rows.norm(dim=1, keepdim=True)
    along = (rows * unit).sum(1, keepdim=True)
    across = rows - along * unit
    across = across * (math.sqrt(1 - aim**2) / across.norm(dim=1, keepdim=True).clamp_min(1e-12))
    short = (along < aim * length) & unit.any(1, keepdim=True)
    return torch.where(short, length * (aim * unit + across), rows)
