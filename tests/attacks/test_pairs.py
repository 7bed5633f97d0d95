"""Two layers in the place of one: around them nothing notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modeldeed.attacks import split_layers
from modeldeed.attacks._layers import copy_of
from modeldeed.attacks._pairs import Pair, placed, replaceable, row_blocks
from modeldeed.attacks.invariance import insert_layers
from modeldeed.errors import OptionError
from tests.attacks.conftest import SmallTransformer, seeded

Rewriting = Callable[[nn.Module], nn.Module]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


REWRITES: dict[str, Rewriting] = {
    "inserted": lambda m: insert_layers(m, generator=generator()),
    "inserted twice": lambda m: insert_layers(
        insert_layers(m, generator=generator()), generator=generator()
    ),
    "split": lambda m: split_layers(m, share=1.0, generator=generator()),
    "split, then inserted": lambda m: insert_layers(
        split_layers(m, share=1.0, generator=generator()), generator=generator()
    ),
}


class Reading(nn.Module):
    """One that multiplies with its layers' weights by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 8, 3, padding=1, groups=2)
        self.linear = nn.Linear(8, 5)
        self.bare = nn.Linear(5, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        conv, linear = self.conv, self.linear
        x = nn.functional.conv2d(x.to(conv.weight.dtype), conv.weight, conv.bias, groups=2)
        x = nn.functional.linear(x.mean((2, 3)), linear.weight, linear.bias)
        return nn.functional.linear(x, self.bare.weight, self.bare.bias)


@pytest.mark.parametrize("name", REWRITES)
def test_code_that_reads_a_weight_reads_what_the_pair_computes(name: str) -> None:
    model = seeded(Reading)
    x = torch.randn(4, 6, 5, 5, generator=generator())
    changed = REWRITES[name](model)
    torch.testing.assert_close(changed(x), model(x), rtol=1e-4, atol=1e-5)
    assert all(isinstance(layer, Pair) for layer in (changed.conv, changed.linear, changed.bare))
    assert changed.bare.bias is None
    assert set(changed.state_dict()).isdisjoint(model.state_dict())


@pytest.mark.parametrize("family", ["vit", "llama"])
@pytest.mark.parametrize("name", REWRITES)
def test_transformers_run_afterwards(name: str, family: str) -> None:
    pytest.importorskip("transformers")
    from tests.passport.host.families import make

    model, batch = make(family)
    with torch.no_grad():
        expected, found = (m(**batch).logits for m in (model, REWRITES[name](model)))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", REWRITES)
def test_torch_s_own_attention_keeps_its_layers(name: str) -> None:
    model = seeded(SmallTransformer)
    x = torch.rand(3, 2, 8, 8, generator=generator())
    changed = REWRITES[name](model)
    torch.testing.assert_close(changed(x), model(x), rtol=1e-4, atol=1e-4)
    assert isinstance(changed.embed, Pair)
    assert type(changed.layer.linear1) is nn.Linear
    with pytest.raises(OptionError, match="no layer that can be split in two"):
        REWRITES[name](nn.MultiheadAttention(4, 2))


@pytest.mark.parametrize("name", REWRITES)
def test_an_embedding_that_shares_a_weight_keeps_it(name: str) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
            self.head.weight = self.words.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.words(x))

    model, x = seeded(Tied).double(), torch.arange(7)
    torch.testing.assert_close(REWRITES[name](model)(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_layer_alone_becomes_a_pair() -> None:
    layer = nn.Linear(3, 4)
    changed = insert_layers(layer, generator=generator())
    assert isinstance(changed, Pair)
    torch.testing.assert_close(changed(torch.ones(1, 3)), layer(torch.ones(1, 3)))
    copied = copy_of(layer)
    assert placed(copied, {}) is copied
    assert replaceable(layer) == [layer]


def test_wide_layers_are_mixed_within_random_blocks() -> None:
    blocks = row_blocks(600, generator())
    assert [len(block) for block in blocks] == [256, 256, 88]
    assert torch.cat(blocks).sort().values.tolist() == list(range(600))
    assert (blocks[0] > 255).any()
    assert [block.tolist() for block in row_blocks(3, generator())] == [[0, 1, 2]]


@pytest.mark.parametrize("name", REWRITES)
def test_no_row_of_a_wide_layer_stays(name: str) -> None:
    layer, x = seeded(nn.Linear, 12, 600), torch.randn(4, 12, generator=generator())
    changed = REWRITES[name](nn.Sequential(layer))[0]
    torch.testing.assert_close(changed(x), layer(x), rtol=1e-4, atol=1e-4)
    first = changed
    while isinstance(first, Pair):
        first = first[0]
    likeness = nn.functional.normalize(first.weight) @ nn.functional.normalize(layer.weight).mT
    assert likeness.diag().abs().max() < 0.98
