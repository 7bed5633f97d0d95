"""The judge's trust file."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from modeldeed.errors import OptionError
from modeldeed.owner import Owner
from modeldeed.timestamping import Dating, check, request
from modeldeed.trust import Trust
from tests.timestamping.authorities import LocalAuthority, make_authority

SINCE = datetime(2025, 3, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return make_authority(tmp_path_factory.mktemp("tsa"), "Local TSA")


@pytest.fixture
def fields(owner: Owner, stranger: Owner, local: LocalAuthority) -> dict[str, Any]:
    return {
        "format": "modeldeed-trust/v1",
        "owners": {owner.identity.public_key.hex(): "Acme Vision"},
        "revoked": {
            stranger.identity.public_key.hex(): {
                "since": "2025-03-01T01:00:00+01:00",
                "reason": "laptop lost",
            }
        },
        "authorities": [
            {
                "name": "Local TSA",
                "policy": local.policy,
                "url": "https://tsa.example/",
                "certificates": local.trusted.to_pem().decode(),
            }
        ],
        "public_bases": [
            {"name": "base", "path": "bases/m.safetensors", "since": "2020-01-01T00:00:00Z"}
        ],
    }


def written(folder: Path, fields: Any) -> Path:
    path = folder / "trust.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path


def test_a_file_is_read(
    tmp_path: Path, fields: dict[str, Any], owner: Owner, stranger: Owner, local: LocalAuthority
) -> None:
    trust = Trust.load(written(tmp_path, fields))
    assert trust.owner_name(owner.identity) == "Acme Vision"
    assert trust.owner_name(stranger.identity) is None
    assert trust.public_bases[0].path == str(tmp_path / "bases" / "m.safetensors")
    (trusted,) = trust.trusted
    assert trusted.authority == local.trusted.authority
    assert trusted.url == "https://tsa.example/"
    assert trust.authority("Local TSA") == trusted
    with pytest.raises(OptionError, match="no authority 'Other'; it has: Local TSA"):
        trust.authority("Other")
    imprint = bytes(32)
    assert check(local.stamp(request(imprint)), imprint, trust.trusted).imprint == imprint


def test_what_is_written_is_read(tmp_path: Path, fields: dict[str, Any]) -> None:
    trust = Trust.load(written(tmp_path, fields))
    again = tmp_path / "again.json"
    again.write_bytes(trust.to_json())
    assert Trust.load(again) == trust
    again.write_bytes(Trust.empty().to_json())
    assert Trust.load(again) == Trust.empty()


def test_a_revoked_identity_counts_only_before(
    tmp_path: Path, fields: dict[str, Any], owner: Owner, stranger: Owner
) -> None:
    trust = Trust.load(written(tmp_path, fields))
    second = timedelta(seconds=1)

    def dating(latest: datetime) -> Dating:
        return Dating(latest - second, latest, ("A",), "dated, single authority")

    assert trust.revocation(owner.identity) is None
    assert trust.revocation(stranger.identity, dating(SINCE - second)) is None
    for late in (None, Dating(), dating(SINCE), dating(SINCE + second)):
        found = trust.revocation(stranger.identity, late)
        assert found is not None
        assert (found.since, found.reason) == (SINCE, "laptop lost")


SMALL_ORDER = "01" + "00" * 31


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "modeldeed-trust/v2"}, "its format is 'modeldeed-trust/v2'; this version"),
        ({"format": None}, "its format is None"),
        ({"surprise": 1}, "at surprise: Extra inputs"),
        ({"owners": {SMALL_ORDER: "x"}}, "small order"),
        ({"owners": {"AB" * 32: "x"}}, "should match pattern"),
        ({"owners": {"ab": "x"}}, "should match pattern"),
        ({"owners": {}, "revoked": {"ff" * 32: {}}}, "canonical form"),
        ({"authorities": [{}]}, "at authorities.0.name"),
        ({"public_bases": [{"name": "b", "path": "p", "since": "2020-01-01"}]}, "since"),
        ({"public_bases": [{"name": "b", "path": "p", "since": "2020-01-01T00:00:00"}]}, "since"),
        ({"public_bases": [{"name": "b", "path": "p", "since": 5}]}, "since"),
        ({"public_bases": [{"name": "b\n", "path": "p", "since": "2020-01-01T00:00:00Z"}]}, "name"),
    ],
)
def test_malformed_files(
    tmp_path: Path, fields: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OptionError, match=reason):
        Trust.load(written(tmp_path, {**fields, **change}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"policy": "x"}, "policy"),
        ({"certificates": "none"}, "no PEM that can be used"),
        ({"pinned": True}, "Extra inputs"),
        ({"name": "a\u001b[2K"}, "name"),
    ],
)
def test_malformed_authorities(
    tmp_path: Path, fields: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    authority = {**fields["authorities"][0], **change}
    with pytest.raises(OptionError, match=reason):
        Trust.load(written(tmp_path, {**fields, "authorities": [authority]}))


def test_an_authority_stands_once(tmp_path: Path, fields: dict[str, Any]) -> None:
    (authority,) = fields["authorities"]
    renamed = {**authority, "name": "Again"}
    other_policy = {**authority, "policy": "1.2.3.4.5"}
    for twice in ([authority, renamed], [authority, other_policy]):
        with pytest.raises(OptionError, match="stands twice"):
            Trust.load(written(tmp_path, {**fields, "authorities": twice}))
    both = [authority, {**other_policy, "name": "Again"}]
    assert len(Trust.load(written(tmp_path, {**fields, "authorities": both})).trusted) == 2


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be read"):
        Trust.load(tmp_path / "missing.json")
    with pytest.raises(OptionError, match="no regular file"):
        Trust.load(tmp_path)
    for data in (b"", b"[]", b'"x"', b"{", b'{"format": "a", "format": "b"}', b"[" * 10**5):
        path = tmp_path / "odd.json"
        path.write_bytes(data)
        with pytest.raises(OptionError, match="trust file"):
            Trust.load(path)
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(OptionError, match="over the limit"):
        Trust.load(path)
