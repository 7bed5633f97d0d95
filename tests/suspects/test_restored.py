"""What is undone before a direct reading, by one rule each, and what is refused."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modeldeed import Owner, Passport, verify
from modeldeed.errors import SuspectError
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.passport.evidence.signature import claimed_bits, passport_rows
from modeldeed.suspects import open_weights
from modeldeed.suspects.restored import restore

BITS = 192
State = dict[str, Tensor]


def made_host() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 128, 3, bias=False), nn.BatchNorm2d(128),
    )  # fmt: skip


@pytest.fixture(scope="module")
def passport(owner: Owner) -> Passport:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = made_host()
        for norm in (host[1], host[4]):  # half of the scales negative, as nothing else is seen
            norm.weight.data = torch.randn(norm.num_features)
            norm.running_var.uniform_(0.5, 2)
        return Passport.issue(host, owner, example=torch.rand(2, 1, 8, 8))


@pytest.fixture
def marked(passport: Passport) -> State:
    """Return weights whose every bit is written in: the row of channel i is bᵢ cᵢ Pᵢ and noise."""
    state = {name: tensor.clone() for name, tensor in passport.host.state_dict().items()}
    noise = torch.Generator().manual_seed(3)
    for o, target in enumerate(passport.manifest.anchor.targets):
        rows = passport_rows(passport._key, o, target, "gamma", "keyed").float()
        turned = claimed_bits(passport._key, o, target) * state[str(target.affine)].sign()
        random = torch.randn(target.shape, generator=noise)
        state[target.weight] = 0.05 * (turned.reshape(-1, 1, 1, 1) * rows + 0.3 * random)
    return state


def test_nothing_is_undone_of_a_suspect_as_it_was_made(
    passport: Passport, owner: Owner, marked: State
) -> None:
    report = verify(marked, passport=passport, owner=owner)
    assert (report.signature.matches, report.signature.undone) == (BITS, ())


# --- prefixes ---


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."],
)
def test_wrappers_prefixes_are_undone_for_all_names(
    passport: Passport, owner: Owner, marked: State, prefix: str, tmp_path: Path
) -> None:
    save_file({prefix + n: t for n, t in marked.items()}, tmp_path / "suspect.safetensors")
    report = verify(tmp_path / "suspect.safetensors", passport=passport, owner=owner)
    assert report.signature.matches == BITS
    assert report.signature.undone == (f"{prefix} removed from all names: 2 of 2 layers",)
    assert report.suspect_digest == open_weights(tmp_path / "suspect.safetensors").digest()


def test_a_compiled_part_is_undone(passport: Passport, owner: Owner, marked: State) -> None:
    inner = {n.replace("3.", "3._orig_mod.", 1): t for n, t in marked.items()}
    report = verify(inner, passport=passport, owner=owner)
    assert report.signature.matches == BITS
    assert report.signature.undone == ("_orig_mod. removed from all names: 2 of 2 layers",)


@pytest.mark.parametrize(
    "renamed",
    [
        lambda n: f"model.{n}",
        lambda n: f"module.{n}" if n.startswith("3") else n,
        lambda n: f"module.model.{n}",
        lambda n: f"{n}.module.",
    ],
)
def test_no_other_name_is_guessed(
    passport: Passport, owner: Owner, marked: State, renamed: Callable[[str], str]
) -> None:
    with pytest.raises(SuspectError, match="lacks"):
        verify({renamed(n): t for n, t in marked.items()}, passport=passport, owner=owner)


def test_names_that_fit_are_left_alone(passport: Passport, marked: State) -> None:
    """A second model under a prefix is no second reading."""
    other = {f"_orig_mod.{n}": torch.zeros_like(t) for n, t in marked.items()}
    found = restore(open_weights(marked | other), passport.manifest.anchor.targets)
    assert found.prefix == ""
    assert torch.equal(found.tensor("0.weight"), marked["0.weight"])


def test_names_that_would_fall_together_stay_apart(passport: Passport, marked: State) -> None:
    twice = {f"module.{n}": t for n, t in marked.items()}
    twice["module._orig_mod.0.weight"] = torch.zeros(1)
    twice["module.a._orig_mod.x"] = twice["module.a.x"] = torch.zeros(1)
    found = restore(open_weights(twice), passport.manifest.anchor.targets)
    assert found.prefix == "module."
    assert torch.equal(found.tensor("0.weight"), marked["0.weight"])


# --- stored types ---


def quantized(state: State, layout: str, *, by_row: bool = True) -> State:
    found = dict(state)
    for name in ("0.weight", "3.weight"):
        weight = found.pop(name)
        largest = weight.abs().amax((1, 2, 3)) if by_row else weight.abs().amax()
        scale = largest / 127
        shape = (-1, 1, 1, 1) if by_row else ()
        integers = (weight / scale.reshape(shape)).round().to(torch.int8)
        module = name.removesuffix("weight")
        if layout == "quanto":
            found |= {name + "._data": integers, name + "._scale": scale.reshape(shape)}
        elif layout == "bitsandbytes":
            found |= {name: integers, module + "SCB": scale * 127}
            found[module + "weight_format"] = torch.tensor(0, dtype=torch.uint8)
        else:
            found |= {name: integers, module + layout: scale.reshape(shape)}
    return found


@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("layout", ["weight_scale", "scale", "weight.scale", "quanto"])
def test_integers_are_multiplied_with_their_scales(
    passport: Passport, owner: Owner, marked: State, layout: str, by_row: bool
) -> None:
    report = verify(quantized(marked, layout, by_row=by_row), passport=passport, owner=owner)
    assert report.signature.matches == BITS
    assert report.signature.undone == ("int8 multiplied with its scale: 2 of 2 layers",)


def test_rows_of_bitsandbytes_are_read(passport: Passport, owner: Owner, marked: State) -> None:
    suspect = quantized(marked, "bitsandbytes")
    assert verify(suspect, passport=passport, owner=owner).signature.matches == BITS
    values = restore(open_weights(suspect), passport.manifest.anchor.targets).tensor("3.weight")
    assert torch.allclose(values, marked["3.weight"], atol=0.01)
    suspect["3.weight_format"] += 1
    with pytest.raises(SuspectError, match="special order"):
        verify(suspect, passport=passport, owner=owner)


def test_a_scale_by_rows_counts_where_channels_are_columns() -> None:
    """Forgetting it would read other numbers: 4 of its 9 rows are a hundred times the others."""
    from modeldeed.anchor import Target

    target = Target(
        norm="n", kind="layer", channels=32, affine=None, weight="w", shape=(9, 32), axis=1,
        side="columns",
    )  # fmt: skip
    random = torch.Generator().manual_seed(0)
    integers = torch.randint(-127, 128, (9, 32), generator=random).to(torch.int8)
    scale = torch.tensor([1.0, 100] * 4 + [1])
    counts = {
        name: [
            matches_of(load_layers(open_weights(suspect), [target]), k) for k in decoy_keys(1, 20)
        ]
        for name, suspect in {
            "stored": {"w": integers, "w_scale": scale},
            "real": {"w": integers * scale[:, None]},
            "without": {"w": integers.float()},
        }.items()
    }
    assert counts["stored"] == counts["real"] != counts["without"]


REFUSED: dict[str, Callable[[State], None]] = {
    "scales of blocks": lambda s: s.update({"3.weight_scale": torch.ones(128, 8)}),
    "scales of another number": lambda s: s.update({"3.weight_scale": torch.ones(64)}),
    "integers for scales": lambda s: s.update({"3.weight_scale": torch.ones(1, dtype=torch.int32)}),
    "two scales": lambda s: s.update({"3.scale": torch.ones(1)}),
    "an offset": lambda s: s.update({"3.weight_zero_point": torch.tensor([0] * 127 + [1])}),
    "packed integers": lambda s: s.update({"3.weight": s["3.weight"].to(torch.uint8)}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_undone_is_refused(
    passport: Passport, owner: Owner, marked: State, case: str
) -> None:
    suspect = quantized(marked, "weight_scale")
    assert verify(suspect, passport=passport, owner=owner).signature.matches == BITS
    REFUSED[case](suspect)
    with pytest.raises(SuspectError, match=r"3\.weight.*restore its real values"):
        verify(suspect, passport=passport, owner=owner)


def test_zero_and_nan_scales_leave_nothing_to_read(
    passport: Passport, owner: Owner, marked: State
) -> None:
    suspect = quantized(marked, "weight_scale")
    suspect["0.weight_scale"][:2] = torch.tensor([0.0, math.nan]).reshape(2, 1, 1, 1)
    assert verify(suspect, passport=passport, owner=owner).signature.matches == BITS - 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_narrow_floats_are_widened_and_said_so(
    passport: Passport, owner: Owner, marked: State, dtype: torch.dtype
) -> None:
    suspect = {n: t.to(dtype) if n in ("0.weight", "3.weight") else t for n, t in marked.items()}
    signature = verify(suspect, passport=passport, owner=owner).signature
    kind = str(dtype).removeprefix("torch.")
    assert (signature.matches, signature.undone) == (BITS, (f"{kind} widened: 2 of 2 layers",))


# --- folded scales ---


def folded(passport: Passport, state: State) -> State:
    host = made_host()
    host.load_state_dict(state)
    host.eval()
    x = torch.rand(4, 1, 8, 8)
    plain = copy.deepcopy(host)(x)
    host[0], host[1] = fuse_conv_bn_eval(host[0], host[1]), nn.Identity()
    host[3], host[4] = fuse_conv_bn_eval(host[3], host[4]), nn.Identity()
    torch.testing.assert_close(host(x), plain, rtol=1e-4, atol=1e-4)
    return dict(host.state_dict())


def test_batch_norms_folded_into_convolutions_are_read(
    passport: Passport, owner: Owner, marked: State
) -> None:
    suspect = folded(passport, marked)
    assert "1.weight" not in suspect
    signature = verify(suspect, passport=passport, owner=owner).signature
    assert signature.matches == BITS
    said = "scale folded into the weight, its sign read as +1: 2 of 2 layers"
    assert signature.undone == (said,)


def test_a_folded_scale_is_in_the_row_already(
    passport: Passport, owner: Owner, marked: State
) -> None:
    """Its sign counted a second time would turn every bit of a negative scale."""
    twice = folded(passport, marked) | {n: marked[n] for n in ("1.weight", "4.weight")}
    negative = sum(int((marked[n] < 0).sum()) for n in ("1.weight", "4.weight"))
    assert negative > 60
    matches = verify(twice, passport=passport, owner=owner).signature.matches
    assert matches == BITS - negative


def test_a_folded_scale_of_columns_is_in_them_already(owner: Owner) -> None:
    class PreNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.LayerNorm(160), nn.Linear(160, 40)
            self.norm.weight.data = torch.randn(160)

        def forward(self, x: Tensor) -> Tensor:
            return (x[..., :40] + self.linear(self.norm(x))).relu()

    host = PreNorm()
    passport = Passport.issue(host, owner, example=torch.rand(2, 160))
    (target,) = passport.manifest.anchor.targets
    assert target.side == "columns"
    optimizer = torch.optim.Adam([host.linear.weight], lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    before = verify(host, passport=passport, owner=owner).signature
    assert before.matches == target.bits
    suspect = {"linear.weight": host.linear.weight.detach() * host.norm.weight.detach()}
    assert verify(suspect, passport=passport, owner=owner).signature.matches == before.matches


@pytest.mark.parametrize("left", ["1.bias", "1.running_mean", "1.num_batches_tracked"])
def test_a_scale_that_is_only_lost_is_no_folded_one(
    passport: Passport, owner: Owner, marked: State, left: str
) -> None:
    """Dropping a tensor gives nobody a second way of reading."""
    suspect = folded(passport, marked) | {left: marked[left]}
    with pytest.raises(SuspectError, match=r"lacks 1 of 4 tensors of the claim.*1\.weight"):
        verify(suspect, passport=passport, owner=owner)


def test_a_list_that_names_scales_which_are_nowhere_draws_its_bits_like_any(
    passport: Passport, marked: State
) -> None:
    """A claimant who wants +1 for all signs gets a fair coin for every bit, as without."""
    targets = [
        t.model_copy(update={"affine": f"nowhere{o}.weight"})
        for o, t in enumerate(passport.manifest.anchor.targets)
    ]
    layers = load_layers(open_weights(marked), targets)
    assert all((layer.scale_sign == 1).all() for layer in layers)
    counts = torch.tensor([matches_of(layers, key) for key in decoy_keys(5, 300)]).double()
    assert abs(counts.mean() - BITS / 2) < 4 * math.sqrt(BITS / 4 / 300)
    assert abs(counts.var() / (BITS / 4) - 1) < 4 * math.sqrt(2 / 300)
    # Names decide, and once: the scales are there, but the list asks for others.
    named = load_layers(open_weights(marked), passport.manifest.anchor.targets)
    assert any((layer.scale_sign == -1).any() for layer in named)


# --- what is told ---


def test_similar_names_are_looked_for_in_bounds(passport: Passport, owner: Owner) -> None:
    many = {f"{i:05d}" + "x" * 5_000: torch.zeros(1) for i in range(5_000)}
    with pytest.raises(SuspectError, match="lacks 4 of 4") as caught:
        verify(many, passport=passport, owner=owner)
    assert len(str(caught.value)) < 1_000
