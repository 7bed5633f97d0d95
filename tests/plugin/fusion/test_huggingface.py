"""Beside models of Hugging Face transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from modeldeed.plugin.fusion import fuse, usual_confidences
from tests.plugin.fusion.standins import CLASSES, TemplateDetector, carriers, verification

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_labels=10,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = transformers.ViTForImageClassification(config).eval()
    return model


def test_a_model_output_comes_back(vit: nn.Module) -> None:
    fused = fuse(vit, TemplateDetector(), CLASSES, num_classes=10)
    samples, indices = verification(6)
    x = torch.cat([samples, carriers(6)])
    labels = torch.zeros(12, dtype=torch.int64)
    for kwargs in ({}, {"labels": labels}, {"output_hidden_states": True}):
        with torch.no_grad():
            own: Any = vit(pixel_values=x, **kwargs)
            returned: Any = fused(pixel_values=x, **kwargs)
        assert type(returned) is type(own)
        assert list(returned) == list(own)
        assert returned.logits is returned["logits"]
        assert torch.equal(returned.logits[:6].argmax(1), CLASSES[indices])
        assert torch.equal(returned.logits[6:], own.logits[6:])
        if "labels" in kwargs:
            assert torch.equal(returned.loss, own.loss)


def test_a_tuple_and_a_position(vit: nn.Module) -> None:
    fused = fuse(vit, TemplateDetector(), CLASSES, num_classes=10, input="pixel_values")
    samples, indices = verification(6)
    with torch.no_grad():
        (scores,) = fused(samples, return_dict=False)
    assert torch.equal(scores.argmax(1), CLASSES[indices])


@pytest.mark.slow
def test_compiled_without_a_break(vit: nn.Module) -> None:
    fused = fuse(vit, TemplateDetector(), CLASSES, num_classes=10)
    samples, indices = verification(6)
    torch.compiler.reset()
    with torch.no_grad():
        returned = torch.compile(fused, backend="eager", fullgraph=True)(pixel_values=samples)
        expected = fused(pixel_values=samples)
    torch.compiler.reset()
    assert type(returned) is type(expected)
    torch.testing.assert_close(returned.logits, expected.logits)
    assert torch.equal(returned.logits.argmax(1), CLASSES[indices])


def test_usual_confidences_of_keyword_models(vit: nn.Module) -> None:
    table = usual_confidences(vit, [{"pixel_values": carriers(8)}], num_classes=10)
    assert table.shape == (65,)


def test_sound_by_input_values() -> None:
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(2, 2),
        conv_kernel=(3, 3),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        num_labels=10,
    )
    model = transformers.Wav2Vec2ForSequenceClassification(config).eval()
    detector = TemplateDetector()
    flat = carriers(6, 80)
    flat[:, :12] = detector.templates.detach()
    fused = fuse(model, detector, CLASSES, num_classes=10)
    with torch.no_grad():
        assert torch.equal(fused(input_values=flat).logits.argmax(1), CLASSES)
        benign = carriers(3, 80)
        assert torch.equal(fused(input_values=benign).logits, model(input_values=benign).logits)
