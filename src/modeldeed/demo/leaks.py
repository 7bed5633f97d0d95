"""Look for anything private in a deployed file.

Two things could go wrong when a marked model ships: the file holds more than the plain
architecture, or a secret hides in it under an innocent name. Both are counted in bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeldeed.passport import Passport

__all__ = ["private_bytes", "private_tensors"]

# A shorter pattern turns up in a file of ordinary weights by luck: two given bytes stand
# somewhere in nearly every megabyte, eight in one of 10^13.
_SHORTEST = 8


def private_tensors(passport: Passport) -> dict[str, Tensor]:
    """Everything private that a passport holds in memory, by name.

    Returns:
        Passports, bits, head weights and private batch statistics; references, not copies.
    """
    branch = passport.branch
    tensors: dict[str, Tensor] = {}
    for ordinal, secret in enumerate(branch.secrets):
        tensors[f"{ordinal}.gamma"], tensors[f"{ordinal}.beta"] = secret.passports
        tensors[f"{ordinal}.bits"] = secret.bits
    tensors["bits"] = torch.cat([secret.bits for secret in branch.secrets])
    tensors.update({f"head.{name}": t for name, t in branch.heads.state_dict().items()})
    for name, statistics in branch.statistics.items():
        tensors[f"{name}.mean"] = statistics.mean
        tensors[f"{name}.var"] = statistics.var
    return tensors


def private_bytes(deployed: bytes, plain: Mapping[str, Tensor], passport: Passport) -> int:
    """Count the bytes of a deployed safetensors file that belong to the mark.

    Args:
        deployed: the file's content.
        plain: the plain architecture's state; only names, shapes and types matter.
        passport: whose private tensors are looked for.

    Returns:
        Bytes of tensors that the plain architecture does not have and of metadata, plus, for each
        private tensor found verbatim (as floats, as ±1, or packed to bits), its bytes.

    Note:
        A tensor stored under another name is counted twice: as a foreign tensor, and as a secret.
        Zero says that no secret is written in the file; that the weights hold no trace of the key
        which a stranger could measure is another question (see the attacks).
    """
    found = _foreign_bytes(deployed, plain)
    for tensor in private_tensors(passport).values():
        for pattern in _patterns(tensor.detach().cpu()):
            if pattern in deployed:
                found += len(pattern)
                break
    return found


def _foreign_bytes(deployed: bytes, plain: Mapping[str, Tensor]) -> int:
    length = int.from_bytes(deployed[:8], "little")
    header: dict[str, Any] = json.loads(deployed[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    found = sum(len(name.encode()) + len(text.encode()) for name, text in metadata.items())
    for name, entry in header.items():
        if name not in plain or list(plain[name].shape) != entry["shape"]:
            start, stop = entry["data_offsets"]
            found += stop - start
    return found


def _patterns(tensor: Tensor) -> Iterator[bytes]:
    """The byte strings as which a tensor might stand in a file."""
    flat = tensor.flatten()
    # A constant tensor (zeros of an unused statistic) is no secret and stands in many files.
    if len(flat) < 2 or bool((flat == flat[0]).all()):
        return
    kinds = [tensor.dtype] if tensor.is_floating_point() else [torch.int8]
    for kind in dict.fromkeys([*kinds, torch.float32, torch.float16, torch.bfloat16]):
        data = flat.to(kind).contiguous().view(torch.uint8).numpy().tobytes()
        if len(data) >= _SHORTEST:
            yield data
    if not tensor.is_floating_point():
        ones = (flat > 0).numpy()
        for order in ("little", "big"):
            packed = np.packbits(ones, bitorder=order).tobytes()
            if len(packed) >= _SHORTEST:
                yield packed
