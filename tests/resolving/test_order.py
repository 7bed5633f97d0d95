"""No ordering of the arguments changes the outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldeed.resolving import Exhibit, Resolution, resolve
from tests.resolving.conftest import World
from tests.resolving.world import NONCE, days, saved

Case = tuple[Path, list[Path], list[Exhibit], list[Path], World]


@pytest.fixture(scope="module")
def case(world: World, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Four claims, one of them void; exhibits and null models."""
    folder = tmp_path_factory.mktemp("order")
    suspect = saved(world.beta.state, folder / "suspect.safetensors")
    parties = (world.acme, world.beta, world.other, world.plain)
    claims = [party.hand_in(folder / "claims", suspect) for party in parties]
    (claims[2] / "opening.json").unlink()
    exhibits = [
        Exhibit(saved(world.bare, folder / "bare.safetensors"), days(-100)),
        Exhibit(saved(world.acme.state, folder / "model.safetensors"), days(3)),
    ]
    (folder / "null").mkdir()
    nulls = [
        saved(world.other.state, folder / "null" / "model.safetensors"),
        saved(world.plain.state, folder / "null" / "other.safetensors"),
    ]
    return suspect, claims, exhibits, nulls[:1], world


@pytest.fixture(scope="module")
def first(case: Case) -> Resolution:
    suspect, claims, exhibits, nulls, world = case
    return resolve(claims, suspect, trust=world.trust, nonce=NONCE, exhibits=exhibits, nulls=nulls)


@settings(max_examples=3)
@given(data=st.data())
def test_shuffled_arguments_give_the_same_resolution(
    case: Case, first: Resolution, data: Any
) -> None:
    suspect, claims, exhibits, nulls, world = case
    again = resolve(
        data.draw(st.permutations(claims)),
        suspect,
        trust=world.trust,
        nonce=NONCE,
        exhibits=data.draw(st.permutations(exhibits)),
        nulls=data.draw(st.permutations(nulls)),
    )
    assert again.model_dump_json() == first.model_dump_json()


def test_the_case_has_something_of_everything(first: Resolution) -> None:
    assert {claim.name: claim.verdict.value for claim in first.claims} == {
        "acme": "verified",
        "beta": "verified",
        "other": "evidence invalid",
        "plain": "not verified",
    }
    assert [claim.digest for claim in first.claims] == sorted(c.digest for c in first.claims)
    assert [relation.words for relation in first.relations] == [
        "void (altered)",
        "unrelated",
        "acme upstream of beta",
    ]
    assert {other.name for other in first.others} == {
        "bare.safetensors",
        *(o.name for o in first.others if o.name.startswith("model.safetensors (")),
    }
    assert len(first.others) == 3


def test_every_step_is_there_in_order(first: Resolution) -> None:
    numbers = [step.number for step in first.steps]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 21))
    for claim in ("acme", "beta", "plain"):
        own = {step.number for step in first.steps if step.claim == claim}
        assert own >= {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 19}


def test_another_name_of_a_folder_changes_names_alone(case: Case, tmp_path: Path) -> None:
    import shutil

    suspect, claims, _, _, world = case
    plain = resolve(claims[:2], suspect, trust=world.trust, nonce=NONCE)
    renamed = [
        shutil.copytree(claims[0], tmp_path / "zeta"),
        shutil.copytree(claims[1], tmp_path / "alpha"),
    ]
    found = resolve(renamed, suspect, trust=world.trust, nonce=NONCE)
    assert [relation.words for relation in plain.relations] == ["acme upstream of beta"]
    assert [relation.words for relation in found.relations] == ["zeta upstream of alpha"]
