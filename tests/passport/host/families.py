"""Tiny models of transformers' families with random weights; nothing is downloaded.

Each has the rules by which a reader of its code would bind its norms: a pattern of norm names, the
weight that belongs to such a norm, and whether the channels are its rows or its columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

Batch = dict[str, Tensor]
Rules = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Family:
    """A host and what a plan of it must hold."""

    build: Callable[[], nn.Module]
    batch: Callable[[], Batch]
    rules: Rules
    left_out: dict[str, str]

    def expected(self, norm: str) -> tuple[str, str] | None:
        for pattern, weight, side in self.rules:
            if found := re.fullmatch(pattern, norm):
                return found.expand(weight) + ".weight", side
        return None


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def words(length: int = 7) -> Tensor:
    return torch.randint(3, 50, (4, length), generator=generator())


def images() -> Batch:
    return {"pixel_values": torch.randn(4, 3, 32, 32, generator=generator())}


def text() -> Batch:
    return {"input_ids": words()}


def pairs() -> Batch:
    return {"input_ids": words(), "decoder_input_ids": words(5)}


NO_FIT = "no single weight fits"
OFFSET = r"\(1 \+ weight\?\)"
THIN = "fewer than 9"
TEXT = {
    "vocab_size": 50, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 2, "max_position_embeddings": 16,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LLAMA = {**TEXT, "num_key_value_heads": 1, "head_dim": 8}
VISION = {
    "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 2, "image_size": 32, "patch_size": 8,
}  # fmt: skip
PRE_NORM_LLAMA: Rules = (
    (r"(.+)\.input_layernorm", r"\1.self_attn.q_proj", "columns"),
    (r"(.+)\.post_attention_layernorm", r"\1.mlp.gate_proj", "columns"),
)
POST_NORM_BERT: Rules = (
    (r"(.+\.output)\.LayerNorm", r"\1.dense", "rows"),
    (r"bert\.embeddings\.LayerNorm", "bert.encoder.layer.0.attention.self.query", "columns"),
    (r"deberta\.encoder\.LayerNorm",
     "deberta.encoder.layer.0.attention.self.query_proj", "columns"),
)  # fmt: skip
CONVOLUTION: Rules = ((r"(.+)\.normalization", r"\1.convolution", "rows"),)
RESNET = {"embedding_size": 12, "hidden_sizes": [12, 16], "depths": [1, 1], "layer_type": "basic"}

FAMILIES: dict[str, Family] = {
    "resnet": Family(
        lambda: hf.ResNetForImageClassification(hf.ResNetConfig(**RESNET, num_labels=5)),
        images, CONVOLUTION, {},
    ),
    "convnext": Family(
        lambda: hf.ConvNextForImageClassification(
            hf.ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[2, 1, 1, 1], num_labels=5)
        ),
        images,
        (
            (r"(.+)\.embeddings\.layernorm", r"\1.embeddings.patch_embeddings", "rows"),
            (r"(.+layers\.\d)\.layernorm", r"\1.dwconv", "rows"),
            (r"(.+)\.downsampling_layer\.0", r"\1.downsampling_layer.1", "columns"),
        ),
        {"convnext.layernorm": NO_FIT},
    ),
    "vit": Family(
        lambda: hf.ViTForImageClassification(hf.ViTConfig(**VISION, num_labels=5)),
        images,
        (
            # Only the patch embedding has been there; position and class token are no weights.
            (r"vit\.layers\.0\.layernorm_before", "vit.embeddings.patch_embeddings.projection",
             "rows"),
            (r"(.+)\.layernorm_before", r"\1.attention.q_proj", "columns"),
            (r"(.+)\.layernorm_after", r"\1.mlp.fc1", "columns"),
        ),
        {"vit.layernorm": NO_FIT},
    ),
    "bert": Family(
        lambda: hf.BertForSequenceClassification(hf.BertConfig(**TEXT, num_labels=5)),
        text, POST_NORM_BERT, {},
    ),
    "llama": Family(
        lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA)),
        text, PRE_NORM_LLAMA, {"model.norm": NO_FIT},
    ),
    "mistral": Family(
        lambda: hf.MistralForCausalLM(hf.MistralConfig(**LLAMA)),
        text, PRE_NORM_LLAMA, {"model.norm": NO_FIT},
    ),
    "qwen3": Family(
        lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**LLAMA)),
        text,
        (*PRE_NORM_LLAMA, (r"(.+)\.k_norm", r"\1.k_proj", "rows")),  # one key head only
        {"model.norm": NO_FIT, "model.layers.0.self_attn.q_norm": NO_FIT,
         "model.layers.1.self_attn.q_norm": NO_FIT},
    ),
    "gemma": Family(
        lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**LLAMA)),
        text, (),
        dict.fromkeys(
            ("model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm",
             "model.layers.1.input_layernorm", "model.layers.1.post_attention_layernorm",
             "model.norm"),
            OFFSET,
        ),
    ),
    "gpt2": Family(
        lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=16,
                          bos_token_id=1, eos_token_id=2)
        ),
        text,
        (
            (r"(.+)\.ln_1", r"\1.attn.c_attn", "columns"),
            (r"(.+)\.ln_2", r"\1.mlp.c_fc", "columns"),
        ),
        {"transformer.ln_f": NO_FIT},
    ),
    "gpt-neox": Family(
        lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**TEXT)),
        text,
        (
            (r"(.+)\.input_layernorm", r"\1.attention.query_key_value", "columns"),
            (r"(.+)\.post_attention_layernorm", r"\1.mlp.dense_h_to_4h", "columns"),
        ),
        {"gpt_neox.final_layer_norm": NO_FIT},
    ),
    "t5": Family(
        lambda: hf.T5ForConditionalGeneration(
            hf.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2,
                        num_decoder_layers=1, num_heads=2)
        ),
        pairs,
        (
            (r"(.+)\.layer\.0\.layer_norm", r"\1.layer.0.SelfAttention.q", "columns"),
            (r"(encoder.+)\.layer\.1\.layer_norm", r"\1.layer.1.DenseReluDense.wi", "columns"),
            (r"(decoder.+)\.layer\.1\.layer_norm", r"\1.layer.1.EncDecAttention.q", "columns"),
            (r"(decoder.+)\.layer\.2\.layer_norm", r"\1.layer.2.DenseReluDense.wi", "columns"),
            (r"encoder\.final_layer_norm", "decoder.block.0.layer.1.EncDecAttention.k", "columns"),
        ),
        {"decoder.final_layer_norm": NO_FIT},
    ),
    "whisper": Family(
        lambda: hf.WhisperForConditionalGeneration(
            hf.WhisperConfig(
                vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1,
                encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
                decoder_ffn_dim=32, num_mel_bins=8, max_source_positions=10,
                max_target_positions=12, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                decoder_start_token_id=1,
            )
        ),
        lambda: {
            "input_features": torch.randn(4, 8, 20, generator=generator()),
            "decoder_input_ids": words(5),
        },
        (
            (r"(.+)\.(self_attn|encoder_attn)_layer_norm", r"\1.\2.q_proj", "columns"),
            (r"(.+)\.final_layer_norm", r"\1.fc1", "columns"),
            (r"model\.encoder\.layer_norm", "model.decoder.layers.0.encoder_attn.k_proj",
             "columns"),
        ),
        {"model.decoder.layer_norm": NO_FIT},
    ),
    "wav2vec2": Family(
        lambda: hf.Wav2Vec2ForSequenceClassification(
            hf.Wav2Vec2Config(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                conv_dim=(12, 12), conv_kernel=(5, 3), conv_stride=(3, 2), num_labels=5,
                num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
                classifier_proj_size=12,
            )
        ),
        lambda: {"input_values": torch.randn(4, 200, generator=generator())},
        (
            (r"(.+)\.feature_projection\.layer_norm", r"\1.feature_projection.projection",
             "columns"),
            (r"(.+)\.encoder\.layer_norm", r"\1.feature_projection.projection", "rows"),
            (r"(.+layers\.0)\.layer_norm", r"\1.attention.out_proj", "rows"),
            (r"(.+)\.final_layer_norm", r"\1.feed_forward.output_dense", "rows"),
        ),
        {"wav2vec2.feature_extractor.conv_layers.0.layer_norm": THIN},
    ),
    "swin": Family(
        lambda: hf.SwinForImageClassification(
            hf.SwinConfig(image_size=32, patch_size=4, embed_dim=12, depths=[2, 1],
                          num_heads=[2, 2], window_size=4, num_labels=5)
        ),
        images,
        (
            (r"swin\.embeddings\.norm", "swin.embeddings.patch_embeddings.projection", "rows"),
            (r"(.+layers\.1\.blocks\.0)\.layernorm_before",
             "swin.encoder.layers.0.downsample.reduction", "rows"),
            (r"(.+)\.layernorm_before", r"\1.attention.q_proj", "columns"),
            (r"(.+)\.layernorm_after", r"\1.mlp.fc1", "columns"),
            (r"(.+)\.downsample\.norm", r"\1.downsample.reduction", "columns"),
        ),
        {"swin.layernorm": NO_FIT},
    ),
    "segformer": Family(
        lambda: hf.SegformerForSemanticSegmentation(
            hf.SegformerConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], num_labels=5,
                               num_attention_heads=[1, 2, 2, 2], decoder_hidden_size=16)
        ),
        images,
        (
            (r"(.+)\.patch_embeddings\.layer_norm", r"\1.patch_embeddings.proj", "rows"),
            (r"(.+)\.sequence_reduction\.layer_norm",
             r"\1.sequence_reduction.sequence_reduction", "rows"),
            (r"(.+stages\.3\.blocks\.0)\.layernorm_before", r"\1.attention.q_proj", "columns"),
            (r"(.+)\.layernorm_before",
             r"\1.attention.sequence_reduction.sequence_reduction", "columns"),
            (r"(.+)\.layernorm_after", r"\1.mlp.fc1", "columns"),
            (r"(.+stages)\.0\.layer_norm", r"\1.1.patch_embeddings.proj", "columns"),
            (r"(.+stages)\.1\.layer_norm", r"\1.2.patch_embeddings.proj", "columns"),
            (r"(.+stages)\.2\.layer_norm", r"\1.3.patch_embeddings.proj", "columns"),
            (r".+stages\.3\.layer_norm", "decode_head.linear_projections.3.proj", "columns"),
            (r"decode_head\.batch_norm", "decode_head.linear_fuse", "rows"),
        ),
        {},
    ),
    "mobilenet": Family(
        lambda: hf.MobileNetV2ForImageClassification(
            hf.MobileNetV2Config(image_size=32, depth_multiplier=0.4, num_labels=5)
        ),
        images, CONVOLUTION, {"mobilenet_v2.layer.0.expand_1x1.normalization": THIN},
    ),
    "mamba": Family(
        lambda: hf.MambaForCausalLM(
            hf.MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2)
        ),
        text, ((r"(.+)\.norm", r"\1.mixer.in_proj", "columns"),), {"backbone.norm_f": NO_FIT},
    ),
    "deberta": Family(
        lambda: hf.DebertaV2ForSequenceClassification(
            hf.DebertaV2Config(**TEXT, num_labels=5, relative_attention=True,
                               pos_att_type=["p2c", "c2p"], position_buckets=4,
                               norm_rel_ebd="layer_norm", share_att_key=True)
        ),
        text, POST_NORM_BERT, {"deberta.embeddings.LayerNorm": NO_FIT},
    ),
    "clip": Family(
        lambda: hf.CLIPModel(
            hf.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12)
        ),
        lambda: {**text(), **images()},
        (
            (r"(.+)\.layer_norm1", r"\1.self_attn.q_proj", "columns"),
            (r"(.+)\.layer_norm2", r"\1.mlp.fc1", "columns"),
            (r"vision_model\.pre_layrnorm", "vision_model.embeddings.patch_embedding", "rows"),
        ),
        {"text_model.final_layer_norm": NO_FIT, "vision_model.post_layernorm": NO_FIT},
    ),
    "detr": Family(  # a frozen backbone: FrozenBatchNorm2d
        lambda: hf.DetrForObjectDetection(
            hf.DetrConfig(
                backbone_config=hf.ResNetConfig(**RESNET, out_features=["stage2"]),
                d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=4,
                num_labels=5,
            )
        ),
        images,
        (
            *CONVOLUTION,
            (r"(.+encoder\.layers\.0)\.self_attn_layer_norm", r"\1.mlp.fc1", "columns"),
            (r"(.+decoder\.layers\.0)\.self_attn_layer_norm", r"\1.encoder_attn.q_proj", "columns"),
            (r"(.+)\.encoder_attn_layer_norm", r"\1.encoder_attn.o_proj", "rows"),
            (r"(.+)\.final_layer_norm", r"\1.mlp.fc2", "rows"),
            (r"model\.decoder\.layernorm", "bbox_predictor.layers.0", "columns"),
        ),
        {},
    ),
}  # fmt: skip


def make(name: str) -> tuple[nn.Module, Batch]:
    """A host with seeded weights and scales of both signs, and its batch."""
    family = FAMILIES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = family.build()
        for module in host.modules():
            weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
            if "Norm" in type(module).__name__ and isinstance(weight, Tensor):
                nn.init.uniform_(weight, 0.5, 1.5)
                weight.data[::3] *= -1
                if isinstance(bias, Tensor):
                    nn.init.normal_(bias, std=0.2)
    return host.eval(), family.batch()


def floats(value: Any) -> list[Tensor]:
    """The floating-point tensors of a ModelOutput, nested as it may be."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    items = value.values() if hasattr(value, "values") else value
    return [t for v in items for t in floats(v)] if isinstance(value, dict | tuple | list) else []
