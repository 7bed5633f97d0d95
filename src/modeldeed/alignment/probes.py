"""The inputs that both models are probed with: one count, one distribution, nothing to choose.

Half of them is white noise. In the other half neighbours are alike, as in images and sound: white
noise alone leaves deep layers nearly the same from input to input.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.anchor import ProbeInput, ProbeTensor
from modeldeed.digests import sha256
from modeldeed.errors import OptionError
from modeldeed.streams import KeyStream

__all__ = ["PROBES", "probe_inputs", "probe_seed"]

PROBES = 64


def probe_seed(deed: bytes, suspect: bytes) -> bytes:
    """The seed of an aligned reading's probes.

    Args:
        deed: digest of the deed, 32 bytes.
        suspect: digest of the suspect, 32 bytes.

    Returns:
        32 bytes: SHA-256 over "align" and both, each with its length.

    Raises:
        OptionError: a digest has another length.

    Example:
        >>> probe_seed(bytes(32), bytes(32)).hex()[:8] != probe_seed(bytes(32), b"x" * 32).hex()[:8]
        True
    """
    if len(deed) != 32 or len(suspect) != 32:
        raise OptionError(f"digests have 32 bytes, got {len(deed)} and {len(suspect)}")
    return sha256(b"align", deed, suspect)


def probe_inputs(seed: bytes, like: Tensor | ProbeInput) -> Any:
    """The probes for models of one kind of input.

    Args:
        seed: from `probe_seed`.
        like: as an anchor fixes it; or a batch of inputs, of which the shape and the type count,
            and of integers the largest value, the last of the tokens that are drawn from.

    Returns:
        64 inputs of that shape and type: a tensor, a tuple of positional or a dict of keyword
        arguments.

    Example:
        >>> probe_inputs(bytes(32), torch.zeros(1, 3, 8, 8)).shape
        torch.Size([64, 3, 8, 8])
    """
    if isinstance(like, Tensor):
        described = ProbeInput.of(like)
        if described is None:
            raise OptionError(f"no probe can be drawn like a tensor of shape {tuple(like.shape)}")
        return probe_inputs(seed, described).to(like.device)
    drawn = [
        _drawn(KeyStream(seed, "probes", number), tensor).movedim(0, like.batch_dim)
        for number, tensor in enumerate(like.tensors)
    ]
    if like.form == "keywords":
        return {str(t.name): value for t, value in zip(like.tensors, drawn, strict=True)}
    return drawn[0] if like.form == "tensor" else tuple(drawn)


def _drawn(stream: KeyStream, tensor: ProbeTensor) -> Tensor:
    generator = torch.Generator().manual_seed(int.from_bytes(stream.read(7), "big"))
    shape = (PROBES, *tensor.shape)
    if tensor.low is not None and tensor.high is not None:
        # Both ends belong to it; the one above the last need not exist in the type.
        width = min(tensor.high - tensor.low, 2**62)
        drawn = torch.randint(width + 1, shape, generator=generator, dtype=torch.int64)
        return (drawn + tensor.low).to(tensor.torch_dtype)
    noise = torch.randn(shape, generator=generator)
    half = PROBES // 2
    if noise.dim() > 2:
        noise[half:] = _smooth(noise[half:])
    return noise.to(tensor.torch_dtype)


def _smooth(noise: Tensor) -> Tensor:
    """Noise whose neighbours along the last dimensions are alike, of variance about one."""
    places = noise.shape[2:]
    coarse = [max(1, -(-size // 4)) for size in places]
    small = noise
    for dim, size in enumerate(coarse, start=2):
        small = small.narrow(dim, 0, size)
    flat = small.reshape(len(small), -1, *coarse[-3:]) if len(places) > 3 else small
    return F.interpolate(flat, size=list(places[-3:]), mode="nearest").reshape(noise.shape)
