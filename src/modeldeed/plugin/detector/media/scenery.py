"""Made up pictures, for an owner without images: as varied as natural ones, not as real."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.anchor.trigger_rule import ImageInput, TriggerInput
from modeldeed.streams import KeyStream
from modeldeed.triggers.families import Draws, find

__all__ = ["drawn", "scenery"]

_FAMILIES = ("smooth/v1", "gratings/v1", "patches/v1", "blobs/v1", "blocks/v1")
_PLAIN, _FIELDS = 2, 7  # of fourteen pictures


def scenery(form: ImageInput, count: int, generator: torch.Generator) -> Tensor:
    """Pictures of fields and shapes, and plain ones.

    Args:
        form: of one picture.
        count: N.
        generator: every random choice.

    Returns:
        uint8 ``(N, C, H, W)``.
    """
    plain, fields = (
        count * part // (_PLAIN + _FIELDS + len(_FAMILIES)) for part in (_PLAIN, _FIELDS)
    )
    parts = [_plain(form, plain, generator), _fields(form, fields, generator)]
    left = count - plain - fields
    for number, family in enumerate(_FAMILIES):
        share = (number + 1) * left // len(_FAMILIES) - number * left // len(_FAMILIES)
        parts.append(drawn(form, family, share, generator))
    pictures = torch.cat(parts)
    return pictures[torch.randperm(count, generator=generator)]


def drawn(form: TriggerInput, family: str, count: int, generator: torch.Generator) -> Tensor:
    """Some inputs of a family of triggers, under a passing key.

    Returns:
        Canonical ``(N, ...)``.
    """
    numbers = torch.randint(2**31, (4,), generator=generator).tolist()
    key = hashlib.sha256(repr(numbers).encode()).digest()
    draw = find(form, family)
    made: list[np.ndarray[Any, Any]] = [
        draw(Draws([KeyStream(key, "made up", number)]), form)[0] for number in range(count)
    ]
    if not made:
        return _empty(form, draw)
    return torch.from_numpy(np.stack(made))


def _empty(form: TriggerInput, draw: Any) -> Tensor:
    one = torch.from_numpy(np.array(draw(Draws([KeyStream(bytes(32), "made up")]), form)))
    return one[:0]


def _plain(form: ImageInput, count: int, generator: torch.Generator) -> Tensor:
    """One color, or two with a straight passage between them; often black, white or gray."""
    ends = torch.rand(2, count, form.channels, 1, 1, generator=generator) * 1.5 - 0.25
    gray = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    ends = torch.where(gray, ends[:, :, :1], ends).clamp_(0, 1)
    one = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    first, last = ends[0], torch.where(one, ends[0], ends[1])
    across = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    rows = torch.linspace(0, 1, form.height)[:, None]
    columns = torch.linspace(0, 1, form.width)
    way = torch.where(across, columns, rows)
    return (torch.lerp(first, last, way) * 255).round_().to(torch.uint8)


def _fields(form: ImageInput, count: int, generator: torch.Generator) -> Tensor:
    """Sums of noise at every scale, mostly gray, as rough as drawn; some with hard edges."""
    height, width = form.height, form.width
    total = torch.zeros(count, form.channels, height, width)
    rough = 0.3 + 0.6 * torch.rand(count, 1, 1, 1, generator=generator)
    cells, size = 2, torch.ones(count, 1, 1, 1)
    while cells <= max(height, width):
        shape = min(cells, height), min(cells, width)
        gray = torch.randn(count, 1, *shape, generator=generator)
        colored = torch.randn(count, form.channels, *shape, generator=generator)
        noise = gray + 0.5 * colored
        total += size * F.interpolate(noise, (height, width), mode="bilinear", align_corners=False)
        cells, size = 2 * cells, size * rough
    deviation = total.std((1, 2, 3), keepdim=True).clamp_min(1e-3)
    hard = (torch.rand(count, 1, 1, 1, generator=generator) < 0.25) * 8.0 + 1
    middle = torch.rand(count, 1, 1, 1, generator=generator)
    contrast = 0.15 + 0.85 * torch.rand(count, 1, 1, 1, generator=generator)
    level = torch.sigmoid(total / deviation * hard * 1.5) - 0.5
    pictures = (middle * 0.6 + 0.2 + contrast * level).clamp_(0, 1)
    return (pictures * 255).round_().to(torch.uint8)
