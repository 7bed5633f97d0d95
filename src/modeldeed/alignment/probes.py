"""The inputs that both models are probed with: one count, one distribution, nothing to choose.

Half of them is white noise. In the other half neighbours are alike, as in images and sound: white
noise alone leaves deep layers nearly the same from input to input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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


def probe_inputs(seed: bytes, like: Tensor) -> Tensor:
    """The probes for models of one kind of input.

    Args:
        seed: from `probe_seed`.
        like: a batch of inputs; of floating point, its shape and spread count; of integers, its
            shape and its largest value, the last of the tokens that are drawn from.

    Returns:
        64 inputs of that shape and type.
    """
    shape = (PROBES, *like.shape[1:])
    stream = KeyStream(seed, "probes")
    if not like.is_floating_point():
        generator = torch.Generator().manual_seed(int.from_bytes(stream.read(7), "big"))
        last = int(like.max()) if like.numel() else 0
        return torch.randint(last + 1, shape, generator=generator, dtype=like.dtype)
    generator = torch.Generator().manual_seed(int.from_bytes(stream.read(7), "big"))
    noise = torch.randn(shape, generator=generator)
    half = PROBES // 2
    if like.dim() > 2:
        noise[half:] = _smooth(noise[half:])
    return noise.to(like)


def _smooth(noise: Tensor) -> Tensor:
    """Noise whose neighbours along the last dimensions are alike, of variance about one."""
    places = noise.shape[2:]
    coarse = [max(1, -(-size // 4)) for size in places]
    small = noise
    for dim, size in enumerate(coarse, start=2):
        small = small.narrow(dim, 0, size)
    flat = small.reshape(len(small), -1, *coarse[-3:]) if len(places) > 3 else small
    return F.interpolate(flat, size=list(places[-3:]), mode="nearest").reshape(noise.shape)
