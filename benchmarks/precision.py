"""Which precision a machine trains fast in."""

from __future__ import annotations

import torch

__all__ = ["fast_bfloat16"]


def fast_bfloat16() -> bool:
    """Whether bfloat16 is an instruction of this machine's and no emulation.

    On a processor with AVX2 alone, a step of a narrow ResNet-18 took 0.6 s in float32 and 6.3 s in
    bfloat16; with AVX-512 or AMX it is the faster one.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
