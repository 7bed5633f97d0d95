"""A tiny pre-norm transformer that reads an image row by row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["RowTransformer"]


class RowTransformer(nn.Module):
    """Rows as tokens, a few encoder layers, the mean token, a classifier.

    Args:
        num_classes: K.
        size: pixels of a row, and rows of an image.
        width: channels of a token.
        layers: encoder layers.

    Shape:
        Input ``(N, 1, size, size)``, output ``(N, K)``.
    """

    def __init__(
        self, num_classes: int, *, size: int = 8, width: int = 96, layers: int = 3
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(size, width)
        self.position = nn.Parameter(0.02 * torch.randn(size, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the classes' scores."""
        tokens = self.encoder(self.embed(x.squeeze(1)) + self.position)
        scores: Tensor = self.head(self.norm(tokens).mean(1))
        return scores
