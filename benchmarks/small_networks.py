"""Tiny networks of other families: a plain CNN; ConvNeXt, ViT and Llama as transformers has them.

Their sizes are such that one core trains them on 8×8 images within a minute; only the ViT has a
form for larger ones.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modeldeed.errors import MissingExtraError

__all__ = ["Logits", "PatchTokens", "small_network"]

_BODY = {
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
}
_LEVELS = 3  # of a pixel in a token
_PATCH = 2


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise MissingExtraError("transformers", "dev") from error


class Logits(nn.Module):
    """A model of transformers that gives nothing but its logits.

    Args:
        net: takes ``pixel_values``, or token numbers.
        tokens: makes tokens of images; None passes images on.

    Shape:
        Input ``(N, C, H, W)``, output ``(N, K)``.
    """

    def __init__(self, net: nn.Module, tokens: nn.Module | None = None) -> None:
        super().__init__()
        self.net = net
        self.tokens = tokens

    def forward(self, images: Tensor) -> Tensor:
        """Return the classes' scores."""
        read = images if self.tokens is None else self.tokens(images)
        scores: Tensor = self.net(read).logits
        return scores


class PatchTokens(nn.Module):
    """Words for a language model: every 2×2 patch of an image with one channel, row by row.

    Each pixel of a patch has one of three levels; so there are 81 words.

    Shape:
        Input ``(N, 1, H, W)``, output ``(N, H / 2 · W / 2)``, int64.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens."""
        # Pixels of normalized digits run from -0.8 to 1.9.
        levels = ((images.squeeze(1) + 0.8) * 0.9).round().clamp(0, _LEVELS - 1).long()
        height, width = (size // _PATCH for size in levels.shape[1:])
        patches = levels.reshape(-1, height, _PATCH, width, _PATCH).transpose(2, 3).flatten(3)
        places = _LEVELS ** torch.arange(_PATCH * _PATCH, device=images.device)
        return (patches * places).sum(-1).flatten(1)


def small_network(
    name: Literal["convnext", "vit", "llama", "small_cnn"],
    classes: int,
    channels: int,
    size: int = 8,
) -> nn.Module:
    """An untrained network for small images, initialized from torch's global generator.

    Args:
        name: its family.
        classes: K.
        channels: of the images.
        size: their height and width.

    Raises:
        MissingExtraError: it is a model of transformers, which is not installed.

    Shape:
        Input ``(N, channels, size, size)``, output ``(N, K)``.
    """
    if name == "small_cnn":
        return _small_cnn(classes, channels)
    if name == "convnext":
        return _convnext(classes, channels)
    return _vit(classes, channels, size) if name == "vit" else _llama(classes)


def _small_cnn(classes: int, channels: int) -> nn.Sequential:
    """Three convolutions with batch norms, 192 channels in all, and a classifier."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 96, 3, padding=1, bias=False), nn.BatchNorm2d(96), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, classes),
    )  # fmt: skip


def _convnext(classes: int, channels: int) -> Logits:
    """ConvNeXt with two stages of two blocks, 32 and 64 channels wide."""
    hf = _transformers()
    config = hf.ConvNextConfig(
        num_channels=channels, patch_size=2, num_stages=2, hidden_sizes=[32, 64], depths=[2, 2],
        layer_scale_init_value=1.0, num_labels=classes,
    )  # fmt: skip
    return Logits(hf.ConvNextForImageClassification(config))


def _vit(classes: int, channels: int, size: int) -> Logits:
    """ViT with three layers and 64 channels; patches are 2×2, of larger images 4×4."""
    hf = _transformers()
    config = hf.ViTConfig(
        **_BODY, num_channels=channels, image_size=size, patch_size=2 if size <= 8 else 4,
        num_labels=classes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return Logits(hf.ViTForImageClassification(config))


def _llama(classes: int) -> Logits:
    """Llama with three layers and 64 channels, that reads an image patch by patch as words."""
    hf = _transformers()
    words = _LEVELS ** (_PATCH * _PATCH)
    config = hf.LlamaConfig(
        **_BODY, num_key_value_heads=2, vocab_size=words + 1, pad_token_id=words,
        bos_token_id=None, eos_token_id=None, max_position_embeddings=64, num_labels=classes,
    )  # fmt: skip
    return Logits(hf.LlamaForSequenceClassification(config), PatchTokens())
