"""Rewrites of transformers keep the function, and change what is stored."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeldeed import attacks
from modeldeed.attacks import AttackData
from modeldeed.attacks.invariance import (
    PermuteHeads,
    RotateResidual,
    permute_heads,
    rotate_residual,
)
from modeldeed.attacks.invariance._blocks import blocks_of
from modeldeed.errors import OptionError
from tests.attacks.conftest import SmallTransformer, seeded
from tests.attacks.invariance.rewritable import small

pytest.importorskip("transformers")
from tests.passport.host.families import make

HOSTS = ("llama", "mistral", "qwen3", "vit", "own")
ALL = {
    f"{kind.name}, {strength}": attack
    for kind in (RotateResidual, PermuteHeads)
    for strength, attack in kind.strengths().items()
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Rows(nn.Module):
    """Rows of a picture through pre-norm layers of PyTorch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 24)
        self.position = nn.Parameter(torch.randn(8, 24))
        layer = nn.TransformerEncoderLayer(24, 4, 48, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 5, bias=False)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.norm(self.encoder(self.embed(x) + self.position)).mean(1))


def host(name: str) -> tuple[nn.Module, Tensor]:
    if name != "own":
        model, batch = make(name)
        return model, next(iter(batch.values()))
    model = seeded(Rows)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.uniform_(-1.5, 1.5, generator=generator())
                module.bias.normal_(generator=generator(1))
    return model, torch.randn(4, 8, 8, generator=generator())


def answer(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found = model(x)
    return found if isinstance(found, Tensor) else found.logits


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("attack", ALL)
def test_the_function_stays_and_the_weights_do_not(attack: str, name: str) -> None:
    model, x = host(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    data: Any = AttackData(SimpleNamespace(x_train=x))  # data sets have no tokens yet
    changed = ALL[attack].apply(model, data, generator(6))
    expected = answer(model, x)
    assert (answer(changed, x) - expected).abs().max() < 1e-4 * expected.abs().max()
    after = changed.state_dict()
    assert list(after) == [*before, *(["head.bias"] if "head.bias" in after else [])]
    blocks = zip(blocks_of(model), blocks_of(changed), strict=True)
    pairs = [(a.attention, b.attention) for a, b in blocks]
    assert any(
        not torch.allclose(a.query.weight, b.query.weight)
        or not torch.allclose(a.value.weight, b.value.weight)
        for a, b in pairs
    )
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    again = ALL[attack].apply(model, data, generator(6))
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in after.items())


def test_tied_embeddings_are_untied_and_norms_become_ones() -> None:
    import transformers as hf

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.LlamaForCausalLM(
            hf.LlamaConfig(
                vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
            )
        ).eval()  # fmt: skip
        nn.init.uniform_(model.model.norm.weight, 0.5, 1.5)
    x = torch.arange(20).reshape(2, 10)
    changed = rotate_residual(model, x, generator=generator())
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert changed.lm_head.weight is not changed.model.embed_tokens.weight
    assert not changed.config.tie_word_embeddings
    assert bool((changed.model.norm.weight == 1).all())
    ratio = changed.model.embed_tokens.weight.norm(dim=1) / model.lm_head.weight.norm(dim=1)
    torch.testing.assert_close(ratio, torch.ones(50), rtol=1e-4, atol=1e-4)


def test_heads_that_share_keys_stay_together() -> None:
    model, x = host("llama")
    changed = permute_heads(model, x, hidden=False, values=False, generator=generator(1))
    before, after = (m.model.layers[0].self_attn.q_proj.weight.view(2, 8, 16)
                     for m in (model, changed))  # fmt: skip
    assert torch.equal(before.flip(0), after) or torch.equal(before, after)


def test_they_are_registered_with_what_they_need() -> None:
    for kind in (RotateResidual, PermuteHeads):
        assert attacks.find(kind.name) is kind
        assert len(kind.strengths()) >= 3
        assert kind.source
        assert kind.needs == ()


def test_what_cannot_be_is_refused() -> None:
    model, batch = make("gemma")
    with pytest.raises(OptionError, match=r"outputs of the rewritten model differ"):
        rotate_residual(model, batch["input_ids"], generator=generator())
    with pytest.raises(OptionError, match=r"norms are not read by its layers alone"):
        rotate_residual(seeded(SmallTransformer), torch.randn(2, 2, 8, 8), generator=generator())
    gpt2, batch = make("gpt2")
    for rewrite in (rotate_residual, permute_heads):
        with pytest.raises(OptionError, match=r"no transformer block whose parts are known"):
            rewrite(gpt2, batch["input_ids"], generator=generator())
        with pytest.raises(OptionError, match=r"no transformer block"):
            rewrite(small(), torch.randn(2, 2, 6, 6), generator=generator())
    with pytest.raises(OptionError, match=r"kind is one of"):
        rotate_residual(model, batch["input_ids"], kind="no", generator=generator())
    unnormed = seeded(Rows)
    unnormed.norm = nn.Identity()
    with pytest.raises(OptionError, match=r"no norm and no linear layer behind"):
        rotate_residual(unnormed, torch.randn(2, 8, 8), generator=generator())
