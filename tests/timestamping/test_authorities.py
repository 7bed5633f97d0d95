"""The local authorities are real: openssl verifies what they and our own writer make."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from modeldeed.timestamping import check, request, signed_info, token_of
from modeldeed.timestamping.tst_info import TstInfo
from tests.timestamping.authorities import make_authority, openssl

IMPRINT = hashlib.sha256(b"a deed").digest()
LONG_AGO = datetime(2011, 2, 3, 4, 5, 6, 250_000, tzinfo=timezone.utc)


@pytest.mark.parametrize("at", [None, LONG_AGO])
def test_openssl_and_we_agree_on_a_token(tmp_path: Path, at: datetime | None) -> None:
    local = make_authority(tmp_path, "One")
    query = request(IMPRINT, policy="1.2.3.4.1")
    answer = local.stamp(query, at)
    (tmp_path / "q").write_bytes(query)
    (tmp_path / "r").write_bytes(answer)
    said = openssl(
        "ts", "-verify", "-in", tmp_path / "r", "-queryfile", tmp_path / "q",
        "-CAfile", local.folder / "root.pem", "-untrusted", local.folder / "signer.pem",
    )  # fmt: skip
    assert "Verification: OK" in said
    stamp = check(answer, IMPRINT, [local.trusted], request=query)
    middle = stamp.earliest + (stamp.latest - stamp.earliest) / 2
    if at:
        assert middle == at
    else:
        assert abs(middle - datetime.now(timezone.utc)) < timedelta(seconds=30)
    assert stamp.latest - stamp.earliest == timedelta(seconds=2)
    assert stamp.authority == local.trusted.authority
    assert stamp.info == signed_info(token_of(answer))
    assert stamp.imprint == IMPRINT


def test_openssl_reads_our_request(tmp_path: Path) -> None:
    (tmp_path / "q").write_bytes(request(IMPRINT, policy="1.2.3.4.77", nonce=2**64 - 1))
    said = openssl("ts", "-query", "-in", tmp_path / "q", "-text")
    for line in (
        "Hash Algorithm: sha256",
        "Policy OID: 1.2.3.4.77",
        "Nonce: 0xFFFFFFFFFFFFFFFF",
        "Certificate required: yes",
    ):
        assert line in said


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        (timedelta(seconds=61, milliseconds=20, microseconds=300), None),
        (timedelta(milliseconds=20), None),
        (None, timedelta(seconds=1)),
    ],
)
def test_an_accuracy_is_read_as_openssl_writes_it(
    tmp_path: Path, stated: timedelta | None, read: timedelta | None
) -> None:
    local = make_authority(tmp_path, "One", accuracy=stated)
    stamp = check(local.stamp(request(IMPRINT)), IMPRINT, [local.trusted])
    assert stamp.latest - stamp.earliest == 2 * (read or stated or timedelta())
    info = TstInfo.from_der(stamp.info)
    assert info.time - stamp.earliest == stamp.latest - info.time
