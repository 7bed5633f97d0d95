"""Text: a few tokens replaced by others."""

from __future__ import annotations

import torch
from torch import Tensor

from modeldeed.anchor.trigger_rule import TokenInput

__all__ = ["distorted_tokens"]

_REPLACED = 0.1


def distorted_tokens(tokens: Tensor, form: TokenInput, generator: torch.Generator) -> Tensor:
    """Up to a tenth of the tokens replaced by random ordinary ones.

    Args:
        tokens: int64 ``(L,)``.
        form: says which tokens are ordinary.
        generator: of every choice.

    Returns:
        A sequence of the same length.
    """
    share = _REPLACED * float(torch.rand((), generator=generator))
    others = torch.randint(form.lowest, form.vocabulary, tokens.shape, generator=generator)
    return torch.where(torch.rand(tokens.shape, generator=generator) < share, others, tokens)
