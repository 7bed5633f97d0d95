"""Canonical samples as files that every server reads: PNG images and WAV recordings, lossless."""

from __future__ import annotations

import io
import struct
import wave
import zlib

import torch
from torch import Tensor

from modeldeed.errors import OptionError

__all__ = ["png", "wav"]

_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # gray, RGB, RGBA


def png(image: Tensor) -> bytes:
    """Write an image as a PNG file; its pixels come back bit for bit.

    Args:
        image: uint8 ``(C, H, W)`` with 1 (gray), 3 (RGB) or 4 (RGBA) channels.

    Raises:
        OptionError: it is no such image.
    """
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[0] not in _COLOR_TYPES:
        raise OptionError(
            f"a PNG holds uint8 images of 1, 3 or 4 channels, got {image.dtype} "
            f"{tuple(image.shape)}; for other samples use another form of request"
        )
    channels, height, width = image.shape
    rows = image.permute(1, 2, 0).reshape(height, width * channels)
    # Every row starts with the number of its filter: 0, none.
    lines = torch.cat([torch.zeros(height, 1, dtype=torch.uint8), rows], 1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    data = zlib.compress(lines.numpy().tobytes(), 6)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def wav(samples: Tensor, rate: int) -> bytes:
    """Write a recording as a WAV file: one channel, 16 bits, little-endian.

    Args:
        samples: int16 ``(L,)``.
        rate: samples a second.

    Raises:
        OptionError: it is no such recording.
    """
    if samples.dtype != torch.int16 or samples.dim() != 1:
        raise OptionError(
            f"a WAV file holds int16 audio (L,), got {samples.dtype} {tuple(samples.shape)}; for "
            "other samples use another form of request"
        )
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.contiguous().numpy().astype("<i2").tobytes())
    return file.getvalue()
