"""Canonical batches: samples as integers, the same bit for bit on every machine.

What a suspect is asked follows from a key, and two judges have to ask the same. So samples are
handed over as integers, and every suspect turns them into its own input by a stated rule.

Shape:
    images: uint8 ``(N, C, H, W)``; points: int16 ``(N, P, 3)``, a coordinate times 2¹⁵; audio:
    int16 ``(N, L)``, an amplitude times 2¹⁵; tokens: int64 ``(N, L)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from modeldeed.digests import DTYPE_NAMES, sha256, tensor_bytes
from modeldeed.errors import OptionError

__all__ = ["Kind", "groups", "kind_of", "sample_digest"]

Kind = Literal["images", "points", "audio", "tokens"]

_BY_FORM: dict[tuple[torch.dtype, int], Kind] = {
    (torch.uint8, 4): "images",
    (torch.int16, 3): "points",
    (torch.int16, 2): "audio",
    (torch.int64, 2): "tokens",
}


def kind_of(batch: Tensor) -> Kind:
    """Tell what a canonical batch holds.

    Args:
        batch: at least one sample, in one of the forms above.

    Returns:
        ``"images"``, ``"points"``, ``"audio"`` or ``"tokens"``.

    Raises:
        OptionError: it is no tensor of such a form, or holds nothing.

    Example:
        >>> kind_of(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
        'images'
    """
    if not isinstance(batch, Tensor):
        raise OptionError(f"a batch is a tensor of samples, got a {type(batch).__name__}")
    kind = _BY_FORM.get((batch.dtype, batch.dim()))
    if kind is None or (kind == "points" and batch.shape[2] != 3):
        raise OptionError(
            f"got a batch {batch.dtype} {tuple(batch.shape)}; samples are uint8 (N, C, H, W) "
            "images, int16 (N, P, 3) points, int16 (N, L) audio or int64 (N, L) tokens"
        )
    if batch.numel() == 0:
        raise OptionError(f"a batch of shape {tuple(batch.shape)} holds nothing to ask about")
    return kind


def sample_digest(sample: Tensor) -> str:
    """The digest by which a sample stands in a transcript.

    Args:
        sample: one sample of a canonical batch, without the batch dimension.

    Returns:
        SHA-256 over dtype, shape and little-endian elements, hexadecimal.

    Raises:
        OptionError: its dtype is not that of a canonical sample.

    Example:
        >>> sample_digest(torch.zeros(4, dtype=torch.int16))[:16]
        '1361b4cd2f97fcb2'
    """
    if sample.dtype not in {dtype for dtype, _ in _BY_FORM}:
        raise OptionError(f"a sample holds uint8, int16 or int64, got {sample.dtype}")
    shape = ",".join(str(size) for size in sample.shape)
    return sha256(
        b"modeldeed/v1/asked-sample",
        DTYPE_NAMES[sample.dtype].encode(),
        shape.encode(),
        bytes(tensor_bytes(sample)),
    ).hex()


def groups(batch: Tensor, size: int) -> Iterator[Tensor]:
    """Cut a batch into consecutive groups of at most ``size`` samples."""
    for start in range(0, len(batch), size):
        yield batch[start : start + size]
