"""When the matches of an unrelated claim are exactly binomial: six conditions, each broken once.

A broken program is the real one but for one condition, on a suspect where that shows. Each test
sees calibration fail, or a verdict forged, and next to it the real program pass on the same suspect
and the same keys. With 1,000 keys the test of uniformity notices a bit that matches with a chance
of 0.51 instead of ½.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from modeldeed import Owner, Verdict
from modeldeed.anchor import Anchor, PassportRule, Target, seed_commitment
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.reading import (
    judge_signature,
    load_layers,
    matches_of,
    read_signature,
)
from modeldeed.passport.evidence.signature import claimed_bits, passport_rows, project
from modeldeed.statistics import (
    Budget,
    log_binomial_tail,
    randomized_p_values,
    required_matches,
    uniformity_p_value,
)
from modeldeed.suspects import open_weights

LAYERS, CHANNELS, FAN = 3, 64, 27
BITS = LAYERS * CHANNELS
KEYS = 1_000
# The program is tested on some twelve suspects here: together they reject a correct one once in
# eighty times, and with fixed keys either never or always.
UNIFORM, REJECTED = 1e-3, 1e-6

State = dict[str, Tensor]
Layer = tuple[Tensor, Tensor, Tensor]
"""Claimed bits, passport, and the signs of the bits as read, c·r."""


def target(ordinal: int, channels: int = CHANNELS) -> Target:
    return Target(
        norm=f"{ordinal}.norm", kind="batch", channels=channels, affine=f"{ordinal}.norm.weight",
        weight=f"{ordinal}.weight", shape=(channels, FAN), axis=0, side="rows",
    )  # fmt: skip


TARGETS = tuple(target(ordinal) for ordinal in range(LAYERS))


def state_of(make: Callable[[torch.Generator], Tensor]) -> State:
    """A suspect's weights; scales have both signs."""
    random = torch.Generator().manual_seed(0)
    state = {}
    for ordinal in range(LAYERS):
        state[f"{ordinal}.weight"] = make(random)
        state[f"{ordinal}.norm.weight"] = torch.randn(CHANNELS, generator=random)
    return state


def normal(random: torch.Generator) -> Tensor:
    return torch.randn(CHANNELS, FAN, generator=random)


SUSPECTS: dict[str, State] = {
    "random": state_of(normal),
    "all positive": state_of(lambda random: normal(random).abs()),
    "all rows alike": state_of(lambda random: normal(random)[:1].expand(CHANNELS, -1).clone()),
    "constant": state_of(lambda random: normal(random)[:, :1].expand(-1, FAN).clone()),
    "steep": state_of(lambda random: normal(random) * 10.0 ** torch.arange(0, -27, -1)),
    "rank 1": state_of(lambda random: normal(random)[:, :1] * normal(random)[:1]),
}


_COUNTED: dict[tuple[int, str], tuple[State, list[int]]] = {}


@cache
def keys(count: int = KEYS) -> list[bytes]:
    return [hashlib.sha256(f"exactness {number}".encode()).digest() for number in range(count)]


def uniformity(matches: list[int], bits: int = BITS, *, one_sided: bool = False) -> float:
    return uniformity_p_value(randomized_p_values(matches, bits, seed=6), one_sided=one_sided)


def program(state: State, rows: str = "keyed") -> list[int]:
    """Matches by the real program; counted once for one suspect."""
    place = (id(state), rows)
    if place not in _COUNTED:
        layers = load_layers(open_weights(state), TARGETS)
        _COUNTED[place] = state, [matches_of(layers, key, rows=rows) for key in keys()]
    return _COUNTED[place][1]


def derived(state: State, key: bytes, rows: str = "keyed") -> list[Layer]:
    """What a key says of a suspect, by other code than the program's reading."""
    found = []
    for ordinal, entry in enumerate(TARGETS):
        passport = passport_rows(key, ordinal, entry, "gamma", rows)
        readings = project(state[entry.weight].double(), passport, 0)
        found.append(
            (
                claimed_bits(key, ordinal, entry),
                passport,
                readings * state[f"{ordinal}.norm.weight"].double(),
            )
        )
    return found


def counted(layers: list[Layer]) -> list[int]:
    return [int((bits * read > 0).sum()) for bits, _, read in layers]


def broken(state: State, count: Callable[[list[Layer]], int], rows: str = "keyed") -> list[int]:
    """Matches by a program with one condition broken."""
    return [count(derived(state, key, rows)) for key in keys()]


# --- the program as it is ---


@pytest.mark.parametrize("name", SUSPECTS)
def test_matches_of_wrong_keys_are_binomial_whatever_the_suspect(name: str) -> None:
    assert uniformity(program(SUSPECTS[name])) > UNIFORM


def test_so_they_are_where_nothing_but_the_claimed_bits_is_random() -> None:
    """One passport row for all channels, and all channels alike: all readings have one sign."""
    alike = SUSPECTS["all rows alike"]
    signs = torch.cat([read for _, _, read in derived(alike, keys()[0], "shared")]).sign()
    scales = torch.cat([alike[f"{o}.norm.weight"] for o in range(LAYERS)]).sign()
    agreeing = (signs * scales).reshape(LAYERS, CHANNELS)
    assert (agreeing == agreeing[:, :1]).all()
    assert uniformity(program(alike, "shared")) > UNIFORM


def test_the_slow_twin_counts_what_the_program_counts() -> None:
    """Otherwise a broken twin below would differ from the program in more than one condition."""
    for name, rows in (("random", "keyed"), ("all rows alike", "shared")):
        twin = broken(SUSPECTS[name], lambda layers: sum(counted(layers)), rows)
        assert twin == program(SUSPECTS[name], rows)


def test_what_a_thousand_keys_can_see() -> None:
    random = torch.Generator().manual_seed(1)
    for rate, seen in ((0.5, False), (0.51, True), (0.49, True)):
        drawn = torch.rand(KEYS, BITS, generator=random) < rate
        assert (uniformity(drawn.sum(1).tolist()) < 1e-3) == seen


# --- 1: b is uniform, and its bits are independent of each other ---


ONE_SIGN = {  # nothing but the bits is random: rows and scales are alike
    name: tensor.abs() if name.endswith("norm.weight") else tensor
    for name, tensor in SUSPECTS["all rows alike"].items()
}


def test_bits_that_lean_to_one_side_are_noticed() -> None:
    """Two coins joined by "or": +1 three times of four."""

    def leaning(layers: list[Layer]) -> int:
        coins = [(torch.maximum(bits, bits.roll(1)), read) for bits, _, read in layers]
        return sum(int((coin * read > 0).sum()) for coin, read in coins)

    assert uniformity(broken(ONE_SIGN, leaning, "shared")) < REJECTED
    assert uniformity(program(ONE_SIGN, "shared")) > UNIFORM


def test_the_same_bits_in_every_layer_are_noticed() -> None:
    """A layer then repeats another's matches, or misses just those."""

    def repeated(layers: list[Layer]) -> int:
        first = layers[0][0]
        return sum(int((first * read > 0).sum()) for _, _, read in layers)

    assert uniformity(broken(ONE_SIGN, repeated, "shared")) < REJECTED
    assert uniformity(program(ONE_SIGN, "shared")) > UNIFORM


# --- 2: b is independent of the suspect ---


def test_a_suspect_made_with_the_key_is_what_a_verdict_means() -> None:
    """The mark itself breaks this condition; a copy made without the key does not."""
    key, marked = keys()[0], dict(SUSPECTS["random"])
    for ordinal, (bits, passport, _) in enumerate(derived(marked, key)):
        sign = (bits * marked[f"{ordinal}.norm.weight"].sign())[:, None]
        marked[f"{ordinal}.weight"] = marked[f"{ordinal}.weight"] + sign * passport
    verdicts = {
        name: judge_signature(
            read_signature(load_layers(open_weights(state), TARGETS), key, Budget()), Budget()
        )[0]
        for name, state in (("marked", marked), ("random", SUSPECTS["random"]))
    }
    assert verdicts == {"marked": Verdict.VERIFIED, "random": Verdict.NOT_VERIFIED}
    others = load_layers(open_weights(marked), TARGETS)
    assert uniformity([matches_of(others, other) for other in keys()[1:]]) > UNIFORM


def test_a_claimant_who_tries_many_keys_is_noticed_and_pays() -> None:
    """Every claim is the best of eight keys tried on this very suspect."""
    tries = 8
    matches = program(SUSPECTS["random"])
    best = [max(matches[start : start + tries]) for start in range(0, KEYS, tries)]
    assert uniformity(best) < REJECTED
    assert uniformity(best, one_sided=True) < REJECTED
    budget = Budget(grinding_log2=int(math.log2(tries)))
    paid = [math.exp(budget.paid(log_binomial_tail(m, BITS))) for m in best]
    assert uniformity_p_value(paid, one_sided=True) > UNIFORM


# --- 3: b is independent of the passports ---


def test_bits_from_the_passports_own_stream_are_noticed() -> None:
    """A bit is the first sign of its channel's row: on positive rows they pull together."""
    state = SUSPECTS["all positive"]

    def from_passport(layers: list[Layer]) -> int:
        return sum(
            int((passport[:, 0] * state[f"{o}.norm.weight"].sign() * read > 0).sum())
            for o, (_, passport, read) in enumerate(layers)
        )

    found = broken(state, from_passport)
    assert uniformity(found) < REJECTED
    assert uniformity(program(state)) > UNIFORM


# --- 4: b is independent of the scale signs c ---


def test_scale_signs_chosen_after_looking_forge_a_verdict() -> None:
    """With c of his own choice, anybody's key verifies on any model, so c is the suspect's."""
    state, key = SUSPECTS["random"], keys()[0]
    chosen = dict(state)
    for ordinal, (bits, _, read) in enumerate(derived(state, key)):
        flips = (bits * read).sign().float()
        chosen[f"{ordinal}.norm.weight"] = state[f"{ordinal}.norm.weight"] * flips

    def verdict(suspect: State) -> Verdict:
        layers = load_layers(open_weights(suspect), TARGETS)
        return judge_signature(read_signature(layers, key, Budget()), Budget())[0]

    assert verdict(chosen) is Verdict.VERIFIED  # his own copy of the scales, not the suspect's
    assert verdict(state) is Verdict.NOT_VERIFIED


def test_a_sign_convention_chosen_after_looking_is_noticed() -> None:
    """One free sign for each layer is enough to show."""

    def kinder(layers: list[Layer]) -> int:
        return sum(max(m, CHANNELS - m) for m in counted(layers))

    assert uniformity(broken(SUSPECTS["random"], kinder)) < REJECTED
    assert uniformity(program(SUSPECTS["random"])) > UNIFORM


def test_turning_a_row_with_its_scale_changes_no_bit() -> None:
    """What the suspect's holder may do for free neither helps nor harms a claim."""
    state = dict(SUSPECTS["random"])
    flips = torch.where(torch.arange(CHANNELS) % 3 == 0, -1.0, 1.0)
    for ordinal in range(LAYERS):
        state[f"{ordinal}.weight"] = state[f"{ordinal}.weight"] * flips[:, None]
        state[f"{ordinal}.norm.weight"] = state[f"{ordinal}.norm.weight"] * flips
    assert program(state) == program(SUSPECTS["random"])


# --- 5: b is independent of the set of bits read ---


def test_a_list_chosen_after_looking_is_noticed() -> None:
    def without_the_worst(layers: list[Layer]) -> int:
        matches = counted(layers)
        return sum(matches) - min(matches)

    state = SUSPECTS["random"]
    assert uniformity(broken(state, without_the_worst), BITS - CHANNELS) < REJECTED
    assert uniformity(program(state)) > UNIFORM


def test_channels_chosen_after_looking_forge_a_verdict() -> None:
    """The claimant keeps the half that matches: a perfect claim on a model he never saw."""
    state = {n: t.repeat(4, *[1] * (t.dim() - 1)) for n, t in SUSPECTS["random"].items()}
    wide = tuple(target(ordinal, 4 * CHANNELS) for ordinal in range(LAYERS))
    layers = load_layers(open_weights(state), wide)
    matches = max(matches_of(layers, key) for key in keys()[:10])
    kept = required_matches(matches, Budget())
    assert kept is not None
    assert kept <= matches
    whole = required_matches(4 * BITS, Budget())
    assert whole is not None
    assert matches < whole


def anchored(targets: tuple[Target, ...] = TARGETS, **rule: str) -> tuple[Owner, Manifest]:
    owner = Owner(bytes(range(32)))
    public = owner.identity.public_key
    anchor = Anchor(
        identity=public.hex(),
        seed_commitment=seed_commitment(owner.seed("model"), public),
        weights_root="1" * 64,
        architecture="2" * 64,
        planner=1,
        targets=targets,
        passport=PassportRule.model_validate({"head": "keyed", **rule}),
    )
    return owner, Manifest(anchor=anchor, label="model", calls={})


def model_key(*arguments: tuple[Target, ...], **rule: str) -> bytes:
    owner, manifest = anchored(*arguments, **rule)
    return manifest.model_key(owner)


def test_another_list_means_other_bits() -> None:
    """A list chosen afterwards is a new draw of every bit, which is what the budget pays for."""
    mute = target(0).model_copy(update={"left_out": (5,)})
    lists = [TARGETS, TARGETS[1:], TARGETS[::-1], (mute, *TARGETS[1:])]
    found = [claimed_bits(model_key(targets), 1, TARGETS[1]) for targets in lists]
    for i, one in enumerate(found):
        assert torch.equal(one, claimed_bits(model_key(lists[i]), 1, TARGETS[1]))
        for other in found[:i]:
            # Equal by chance in as many as 50 of 64 places: once in 300,000.
            assert int((one == other).sum()) < 50


# --- 6: b is independent of the way of reading ---

READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "as stored": lambda w: w,
    "centered": lambda w: w - w.mean(1, keepdim=True),
    "signs": torch.sign,
    "cubes": lambda w: w**3,
    "backwards": lambda w: w.flip(1),
    "shifted": lambda w: w.roll(1, 1),
}


def test_a_reading_chosen_after_looking_is_noticed_and_pays() -> None:
    state = SUSPECTS["random"]
    ways = [
        {n: read(t) if t.dim() == 2 else t for n, t in state.items()} for read in READINGS.values()
    ]
    tried = [program(way) for way in ways]
    for matches in tried:  # each of them is exact by itself
        assert uniformity(matches) > UNIFORM
    best = [max(several) for several in zip(*tried, strict=True)]
    assert uniformity(best) < REJECTED
    paid = [
        math.exp(Budget(grinding_log2=0, readings=len(ways)).paid(log_binomial_tail(m, BITS)))
        for m in best
    ]
    assert uniformity_p_value(paid, one_sided=True) > UNIFORM


def test_another_way_of_reading_means_other_bits() -> None:
    """The form of the passports and the rule of reading stand in the anchor, before the key."""
    one, other = (claimed_bits(model_key(rows=rows), 0, TARGETS[0]) for rows in ("keyed", "shared"))
    assert int((one == other).sum()) < 50
    with pytest.raises(ValueError, match="reading"):
        anchored(reading="weights/v2")
