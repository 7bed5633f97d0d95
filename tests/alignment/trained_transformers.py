"""Small transformers that learned something in seconds, with passports, and others like them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cache
from pydoc_data import topics

import torch
import transformers as hf
from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed import Owner, Passport
from modeldeed.alignment import Aligned, align
from modeldeed.anchor import Target
from modeldeed.data import Dataset, load
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.suspects import open_weights

LENGTH = 32


def llama(seed: int, width: int = 48, layers: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    return hf.LlamaForCausalLM(
        hf.LlamaConfig(
            vocab_size=128, hidden_size=width, intermediate_size=2 * width,
            num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=LENGTH, bos_token_id=1, eos_token_id=2,
            tie_word_embeddings=True, use_cache=False,
        )
    )  # fmt: skip


def vit(seed: int, width: int = 48, layers: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return hf.ViTForImageClassification(
        hf.ViTConfig(
            hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
            num_attention_heads=4, image_size=16, patch_size=4, num_channels=1, num_labels=10,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


@cache
def _text() -> Tensor:
    text = "\n".join(topics.topics[name] for name in sorted(topics.topics))
    return torch.tensor(list(text[:200_000].encode("ascii", "ignore")))


@cache
def _digits() -> Dataset:
    return load("digits")


def texts(count: int, seed: int) -> Tensor:
    """Windows of Python's own manual, as bytes."""
    codes = _text()
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(codes) - LENGTH, (count,), generator=generator)
    return codes[starts[:, None] + torch.arange(LENGTH)]


def digits(count: int, seed: int) -> tuple[Tensor, Tensor]:
    data = _digits()
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(data.x_train), (count,), generator=generator)
    return F.interpolate(data.x_train[chosen], size=(16, 16)), data.y_train[chosen]


def loss_of(model: nn.Module, seed: int, count: int = 16) -> Tensor:
    if hasattr(model, "lm_head"):
        x = texts(count, seed)
        return F.cross_entropy(model(x).logits[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    x, y = digits(2 * count, seed)
    return F.cross_entropy(model(x).logits, y)


def learn(model: nn.Module, steps: int, seed: int, rate: float = 5e-3) -> float:
    """Train in place, a batch of new samples a step; return the loss on others."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(model, 1000 * seed + step).backward()
        optimizer.step()
    model.eval().zero_grad(set_to_none=True)
    with torch.no_grad():
        return float(loss_of(model, 999_999, 64))


def tuned(model: nn.Module, steps: int = 10) -> nn.Module:
    model = copy.deepcopy(model)
    learn(model, steps, 77, 1e-3)
    return model


@dataclass
class Claim:
    """A trained host, the same with a passport, and models that learned the same by themselves."""

    kind: str
    steps: int = 100
    independent: int = 1
    others: list[nn.Module] = field(default_factory=list)

    def __post_init__(self) -> None:
        build = {"llama": llama, "vit": vit}[self.kind]
        owner = Owner(bytes(32), "test")
        with torch.random.fork_rng(devices=[]):
            self.model = build(0)
            self.loss = learn(self.model, self.steps, 0)
            self.unmarked = copy.deepcopy(self.model)
            tokens = self.kind == "llama"
            self.inputs = torch.arange(4 * LENGTH).reshape(4, LENGTH) if tokens else digits(4, 0)[0]
            passport = Passport.issue(self.model, owner, example=self.inputs)
            batches = [texts(16, seed) if tokens else digits(32, seed)[0] for seed in range(8)]
            passport.embed(batches, steps=40)
            self.model.eval()
            self.others = [build(seed) for seed in range(1, 1 + self.independent)]
            for seed, other in enumerate(self.others, start=1):
                learn(other, self.steps, seed)
        anchor = passport.manifest.anchor
        self.key, self.probes = passport.manifest.model_key(owner), anchor.probes
        self.targets: tuple[Target, ...] = anchor.targets
        self.bits = sum(target.bits for target in self.targets)

    def direct(self, suspect: nn.Module) -> int:
        state, own = suspect.state_dict(), self.model.state_dict()
        held = {t.weight: state[t.weight] for t in self.targets}
        held |= {str(t.affine): own[str(t.affine)] for t in self.targets}
        return matches_of(load_layers(open_weights(held), self.targets), self.key)

    def aligned(
        self, suspect: nn.Module, *, key: bytes | None = None, exhibit: nn.Module | None = None,
        turned: bool = True,
    ) -> Aligned:  # fmt: skip
        assert self.probes is not None
        return align(
            suspect, self.model, self.targets, seed=bytes(range(32)), like=self.probes,
            key=key or self.key, exhibit=(exhibit or self.unmarked) if turned else None,
        )  # fmt: skip

    def matches(
        self, suspect: nn.Module, *, key: bytes | None = None, exhibit: nn.Module | None = None,
        turned: bool = True,
    ) -> int:  # fmt: skip
        weights = open_weights(
            self.aligned(suspect, key=key, exhibit=exhibit, turned=turned).weights
        )
        return matches_of(load_layers(weights, self.targets), key or self.key)
