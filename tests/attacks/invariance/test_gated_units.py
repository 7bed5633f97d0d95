"""Channels that are multiplied with each other, as behind a gate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modeldeed.attacks.invariance import add_dummy_neurons, flip_signs, permute, scale
from modeldeed.attacks.invariance._tracing import spaces_of
from modeldeed.errors import OptionError
from tests.attacks.conftest import seeded


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


class Gated(nn.Module):
    """Hidden units behind a gate, as Llama has them; the gate first or last, and a skip."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.gate, self.up = nn.Linear(6, 10), nn.Linear(6, 10)
        self.down = nn.Linear(10, 6)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = nn.functional.silu(self.gate(x)), 0.5 * self.up(x)
        return x + self.down(gate * up if self.first else up * gate)


class Squeezed(nn.Module):
    """Channels times what a look at all of them says, as SE blocks have it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 3, 3)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        weights = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu())
        return self.last(x * weights.sigmoid())


Rewriting = Callable[[nn.Module, Tensor], nn.Module]
REWRITES: dict[str, Rewriting] = {
    "permuted": lambda m, x: permute(m, x, generator=generator()),
    "scaled": lambda m, x: scale(m, x, generator=generator()),
    **{
        kind: lambda m, x, kind=kind: add_dummy_neurons(m, x, kind=kind, generator=generator())
        for kind in ("zero", "clique", "split")
    },
}
HOSTS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "gate first": (lambda: Gated(first=True), torch.randn(3, 4, 6, generator=generator())),
    "gate last": (lambda: Gated(first=False), torch.randn(3, 4, 6, generator=generator())),
    "squeezed": (Squeezed, torch.randn(3, 2, 6, 6, generator=generator())),
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", REWRITES)
def test_the_function_stays_and_hidden_units_do_not(name: str, host: str) -> None:
    build, x = HOSTS[host]
    model = seeded(build)
    changed = REWRITES[name](model, x)
    torch.testing.assert_close(changed(x), model(x), rtol=1e-4, atol=1e-5)
    reader = "last" if host == "squeezed" else "down"
    old, new = (m.get_submodule(reader).weight for m in (model, changed))
    assert old.shape != new.shape or not torch.equal(old, new)


@pytest.mark.parametrize("host", ["gate first", "gate last"])
def test_factors_go_through_what_is_gated_and_not_through_the_gate(host: str) -> None:
    build, x = HOSTS[host]
    model = seeded(build)
    both = spaces_of(model, x)
    assert [(len(s.writers), len(s.readers)) for s in both] == [(2, 1)]
    (factors,) = spaces_of(model, x, parted=True)
    assert factors.writers == [model.up]
    flipped = flip_signs(model, x, share=1.0, generator=generator())
    assert torch.equal(flipped.up.weight, -model.up.weight)
    assert torch.equal(flipped.gate.weight, model.gate.weight)
    torch.testing.assert_close(flipped(x), model(x))


def test_a_square_lets_orders_through_and_no_factors() -> None:
    class Squared(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            x = self[0](x)
            return self[1](x * x)

    model, x = seeded(Squared, nn.Linear(4, 6), nn.Linear(6, 2)), torch.ones(2, 4)
    changed = permute(model, x, generator=generator())
    torch.testing.assert_close(changed(x), model(x))
    with pytest.raises(OptionError, match="no channels that could be changed"):
        scale(model, x, generator=generator())


@pytest.mark.parametrize("shape", [(6,), (2, 6), (1, 3, 6)])
def test_factors_of_channels_that_nothing_is_known_of_hold_them(shape: tuple[int, ...]) -> None:
    class Times(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x) * torch.arange(6.0).expand(shape))

    model, x = seeded(Times, nn.Linear(4, 6), nn.Linear(6, 2)), torch.ones(2, 3, 4)
    with pytest.raises(OptionError, match="permute-heads and rotate-residual"):
        permute(model, x if len(shape) == 3 else x[:, 0], generator=generator())


def test_hidden_units_of_llama_are_found() -> None:
    pytest.importorskip("transformers")
    from tests.passport.host.families import make

    model, batch = make("llama")
    x = batch["input_ids"]

    def answer(m: nn.Module) -> Tensor:
        with torch.no_grad():
            logits: Tensor = m(x).logits
        return logits

    for rewrite in REWRITES.values():
        changed = rewrite(model, x)
        torch.testing.assert_close(answer(changed), answer(model), rtol=1e-4, atol=1e-5)
        old, new = (m.model.layers[0].mlp.down_proj.weight for m in (model, changed))
        assert old.shape != new.shape or not torch.equal(old, new)


@pytest.mark.parametrize(("rewrite", "kind"), [(scale, "positively homogeneous"),
                                               (flip_signs, "linear")])  # fmt: skip
def test_a_rewrite_that_would_change_nothing_is_refused(rewrite, kind: str) -> None:
    model = seeded(nn.Sequential, nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
    with pytest.raises(OptionError, match=f"only {kind} operations use; a transformer"):
        rewrite(model, torch.ones(2, 4), generator=generator())
