"""One world for all forgeries: making it takes a second."""

from __future__ import annotations

import pytest

from modeldeed.owner import Owner
from tests.deed.forgeries.world import Registered, World, register, trust_in
from tests.timestamping.authorities import make_authority


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, owner: Owner, stranger: Owner) -> World:
    folder = tmp_path_factory.mktemp("world")
    authorities = (
        make_authority(folder, "One"),
        make_authority(folder, "Two", policy="1.2.3.4.2"),
    )
    real = register(owner, folder / "real", authorities, triggers=True)
    return World(folder, real, stranger, authorities, trust_in(*authorities))


@pytest.fixture(scope="session")
def other(world: World) -> Registered:
    """The same owner's deed of another model."""
    return register(
        world.real.owner, world.folder / "other", world.authorities, seed=1, label="other"
    )


@pytest.fixture(scope="session")
def theirs(world: World) -> Registered:
    """The forger's own deed, all in order, of a model of his own, later by itself."""
    return register(world.forger, world.folder / "theirs", world.authorities, seed=2)
