"""Authorities that several tests share; making one takes some milliseconds."""

from __future__ import annotations

import pytest

from tests.timestamping.authorities import LocalAuthority, make_authority


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return make_authority(tmp_path_factory.mktemp("tsa"), "One")


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return make_authority(tmp_path_factory.mktemp("tsa"), "Two", policy="1.2.3.4.2")
