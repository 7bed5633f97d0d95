"""Probes are fixed by their seed; maps put channels where they belong."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modeldeed.alignment.chains import with_chains
from modeldeed.alignment.maps import Columns, Heard, rows_assigned, similarity
from modeldeed.alignment.probes import PROBES, probe_inputs, probe_seed
from modeldeed.alignment.recording import record
from modeldeed.errors import OptionError


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_probes_follow_from_deed_and_suspect() -> None:
    seed = probe_seed(bytes(32), b"s" * 32)
    assert len({seed, probe_seed(b"s" * 32, bytes(32)), probe_seed(bytes(32), bytes(32))}) == 3
    like = torch.zeros(2, 3, 9, 7)
    probes = probe_inputs(seed, like)
    assert probes.shape == (PROBES, 3, 9, 7)
    assert torch.equal(probes, probe_inputs(seed, like))
    assert not torch.equal(probes, probe_inputs(bytes(32), like))
    assert abs(float(probes.std()) - 1) < 0.1
    # In the second half neighbours are alike.
    steps = (probes[..., 1:] - probes[..., :-1]).abs().mean((1, 2, 3))
    assert steps[PROBES // 2 :].max() < steps[: PROBES // 2].min()


def test_tokens_are_drawn_from_those_that_were_shown() -> None:
    probes = probe_inputs(bytes(32), torch.tensor([[3, 0, 6]]))
    assert probes.shape == (PROBES, 3)
    assert sorted(set(probes.flatten().tolist())) == list(range(7))
    assert probe_inputs(bytes(32), torch.zeros(1, 5)).shape == (PROBES, 5)


def test_digests_have_their_length() -> None:
    with pytest.raises(OptionError, match="32 bytes, got 31 and 32"):
        probe_seed(bytes(31), bytes(32))


def test_copies_add_up_and_strangers_are_left_out() -> None:
    x = drawn(200, 6)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    stranger = drawn(200, 1, seed=1)
    suspect = torch.cat([x[:, order] * torch.tensor([2, -1, 3, 1, 0.5, 1]), x[:, :2], stranger], 1)
    suspect = torch.cat([suspect, torch.zeros(200, 1)], 1)
    found = Heard(x, suspect).folded()
    assert found.place.tolist() == [*order.tolist(), 0, 1, -1, -1]
    assert torch.allclose(found.factor[:8], torch.tensor([2, -1, 3, 1, 0.5, 1, 1, 1]), atol=1e-5)
    assert not Heard(x, suspect).certain
    assert Heard(x, x[:, order]).certain


def test_silent_channels_are_told_by_their_columns() -> None:
    x = drawn(100, 4)
    x[:, 2] = 0
    weight = drawn(5, 4, seed=2)
    order = torch.tensor([2, 3, 0, 1])
    halves = torch.cat([weight[:, order], -weight[:, :1], weight[:, 2:3]], 1) / 4
    columns = Columns(weight, halves)
    suspect = torch.cat([x[:, order], torch.zeros(100, 2)], 1)
    found = Heard(x, suspect).folded(columns)
    # One silent channel that was split in two; and one that only looks like a channel that spoke.
    assert found.place.tolist() == [*order.tolist(), -1, 2]
    assert torch.allclose(found.factor, torch.tensor([2.0, 1, 1, 1, 0, 2]))
    assert Heard(x, x[:, order]).folded().place.tolist() == [-1, 3, 0, 1]


def test_rows_are_assigned_without_their_passports() -> None:
    """What a row says along its passports has no say, however large it is."""
    rows, generator = drawn(12, 16), torch.Generator().manual_seed(3)
    directions = torch.linalg.qr(drawn(12, 16, 2, seed=4))[0].permute(2, 0, 1)
    cleaned = rows.clone()
    for direction in directions:
        cleaned -= (cleaned * direction).sum(1, keepdim=True) * direction
    order = torch.randperm(12, generator=generator)
    loud = cleaned + 50 * drawn(12, 1, seed=5) * directions[0]
    kept = torch.ones(12)
    found = rows_assigned(cleaned, -2 * loud[order], kept, directions)
    assert found.place.tolist() == order.tolist()
    assert torch.allclose(found.factor, torch.full((12,), -2.0), atol=1e-3)
    assert found.cosine.min() > 0.999
    fewer = rows_assigned(cleaned, loud[order[:5]], kept, directions)
    assert fewer.place.tolist() == order[:5].tolist()
    more = rows_assigned(cleaned, torch.cat([loud, loud[:3]]), kept, directions)
    assert sorted(more.place.tolist()) == [-1, -1, -1, *range(12)]
    # Long rows need no directions: half of each was taken out, and its own is still the best.
    long = drawn(12, 2000, seed=6)
    other = long + drawn(12, 2000, seed=7)
    told = rows_assigned(long, other[order], torch.full((12,), 0.5**0.5))
    assert told.place.tolist() == order.tolist()
    assert told.cosine.min() > 0.9


def test_similarity_is_the_cosine_of_columns() -> None:
    one, two = drawn(50, 7), drawn(50, 3, seed=1)
    two[:, 1] = 0
    cosines, products = similarity(one, two)
    slow = torch.cosine_similarity(one.T[:, None], two.T[None], dim=2).abs()
    assert torch.allclose(cosines, slow, atol=1e-5)
    assert torch.allclose(products, one.T @ two, atol=1e-5)


def test_a_record_holds_weights_as_they_act() -> None:
    class Turned(nn.Module):
        """A layer that holds (in, out)."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(drawn(6, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight

    model = nn.Sequential(Turned(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)).eval()
    x = drawn(8, 6)
    first, second, third = record(model, x)
    assert (first.name, first.turned, second.turned) == ("0.weight", True, False)
    assert torch.equal(first.weight, model[0].weight.T)
    assert torch.allclose(second.outputs, first.outputs @ model[1].weight.T, atol=1e-5)
    whole = [o for o in with_chains([first, second, third]) if len(o.of) > 1]
    assert [o.called for o in whole] == ["0.weight · 1.weight"]
    assert torch.allclose(whole[0].weight, model[1].weight @ model[0].weight.T, atol=1e-5)
    assert torch.allclose(whole[0].outputs, x @ whole[0].weight.T, atol=1e-4)
    doubled = record(model, x, {"1.weight": 2 * model[1].weight.data})
    assert torch.allclose(doubled[1].outputs, 2 * second.outputs, atol=1e-4)
    assert torch.equal(doubled[2].inputs, third.inputs)
