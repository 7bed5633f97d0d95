"""Requests, tokens and DER: one form each, and one class of error for everything else."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import modeldeed
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.timestamping import Authority, TrustedAuthority, request, token_of
from modeldeed.timestamping.der import (
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    TIME,
    Element,
    encode,
    encode_integer,
    encode_oid,
    parse,
)
from modeldeed.timestamping.query import Query
from modeldeed.timestamping.tokens import Token
from modeldeed.timestamping.tst_info import TstInfo
from tests.timestamping.authorities import LocalAuthority, issue, openssl
from tests.timestamping.cms import info_der

UTC = timezone.utc
IMPRINT = hashlib.sha256(b"a deed").digest()


@given(st.integers(0, 2**64 - 1))
def test_integers_return(value: int) -> None:
    assert parse(encode_integer(value), "x").integer("x") == value


@given(st.lists(st.integers(0, 2**70), min_size=1, max_size=8), st.integers(0, 39))
def test_identifiers_return(rest: list[int], second: int) -> None:
    for head in ("0", "1", "2"):
        dotted = ".".join([head, *map(str, [second, *rest])])
        if len(encode_oid(dotted)) <= 64:
            assert parse(encode_oid(dotted), "x").oid("x") == dotted
    assert parse(encode_oid("2.999.1"), "x").oid("x") == "2.999.1"


@pytest.mark.parametrize(
    "data",
    [
        "", "30", "3080", "30800000", "308101", "30820001", "1f0100", "020102ff", "0201",
        "3085000000000100",
    ],
)  # fmt: skip
def test_what_is_no_der(data: str) -> None:
    with pytest.raises(EvidenceError):
        parse(bytes.fromhex(data), "x")


@pytest.mark.parametrize("content", ["", "0001", "ff80", "00" * 66])
def test_integers_have_one_form(content: str) -> None:
    with pytest.raises(EvidenceError, match="not a canonical integer"):
        Element(INTEGER, bytes.fromhex(content), b"").integer("x")


@pytest.mark.parametrize("content", ["", "80", "8001", "2a80", "2a8001", "2a" * 65])
def test_identifiers_have_one_form(content: str) -> None:
    with pytest.raises(EvidenceError, match="object identifier"):
        Element(6, bytes.fromhex(content), b"").oid("x")


def test_times() -> None:
    def time(text: str) -> datetime:
        return Element(TIME, text.encode(), b"").time("x")

    assert time("20240229235959Z") == datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
    assert time("20240229235959.25Z").microsecond == 250_000
    assert time("20240229235959.1234567Z").microsecond == 123_456
    for wrong in (
        "20230229235959Z", "20240229235959", "20240229235959.0Z", "20240229235959.Z",
        "20240229235959.50Z", "202402292359Z", "20240229235959+0100", "00000101000000Z",
        "20240229235960Z", "2024022923595٩Z",
    ):  # fmt: skip
        with pytest.raises(EvidenceError):
            time(wrong)


def test_a_time_at_the_end_of_the_calendar() -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    info = TstInfo.from_der(info_der(IMPRINT, "1.2.3", end, accuracy=timedelta(seconds=2)))
    assert info.earliest == end - timedelta(seconds=2)
    with pytest.raises(EvidenceError, match="outside of the calendar"):
        _ = info.latest


def test_other_hashes_and_versions_are_refused() -> None:
    good = info_der(IMPRINT, "1.2.3", datetime(2020, 1, 1, tzinfo=UTC))
    assert TstInfo.from_der(good).imprint == IMPRINT
    with pytest.raises(EvidenceError, match="only version 1"):
        TstInfo.from_der(good.replace(encode_integer(1), encode_integer(2), 1))
    sha384 = good.replace(
        encode_oid("2.16.840.1.101.3.4.2.1"), encode_oid("2.16.840.1.101.3.4.2.2")
    )
    with pytest.raises(EvidenceError, match="must be a SHA-256"):
        TstInfo.from_der(sha384)


@given(st.binary(max_size=200))
def test_noise(data: bytes) -> None:
    wrapped = encode(SEQUENCE, encode(SEQUENCE, encode_integer(0)), encode(SEQUENCE, data))
    for reader in (token_of, Token.from_der, TstInfo.from_der, Query.from_der):
        for item in (data, wrapped, encode(OCTET_STRING, data)):
            with pytest.raises(EvidenceError):
                reader(item)


@given(st.data())
def test_mutated_requests_and_tokens_parse_or_are_refused(data: st.DataObject) -> None:
    query = bytearray(request(IMPRINT, policy="1.2.3.4.1", nonce=5))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(query) - 1))
        query[place] = data.draw(st.integers(0, 255))
    try:
        found = Query.from_der(bytes(query))
    except EvidenceError:
        return
    assert len(found.imprint) == 32


def test_requests_are_fresh_and_bounded() -> None:
    assert request(IMPRINT) != request(IMPRINT)
    found = Query.from_der(request(IMPRINT, policy="1.2.3", nonce=9))
    assert (found.imprint, found.policy, found.nonce) == (IMPRINT, "1.2.3", 9)
    for nonce in (0, -1, 2**64):
        with pytest.raises(OptionError, match="nonce"):
            request(IMPRINT, nonce=nonce)
    for policy in ("", "1", "1.2.", "1.2.03", "3.1.2", "1.40.1", "a.b", "1.2\n"):
        with pytest.raises(OptionError, match="dotted identifier"):
            request(IMPRINT, policy=policy)
        with pytest.raises(ValidationError):
            Authority(name="A", policy=policy, root="0" * 64)
    with pytest.raises(OptionError, match="32 bytes, got 20"):
        request(bytes(20))


def test_a_request_of_openssl_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"a deed")
    openssl("ts", "-query", "-data", tmp_path / "data", "-sha256", "-cert", "-out", tmp_path / "q")
    found = Query.from_der((tmp_path / "q").read_bytes())
    assert (found.imprint, found.policy) == (IMPRINT, None)
    assert found.nonce


def test_pinned_certificates(one: LocalAuthority, two: LocalAuthority) -> None:
    pem, other = one.trusted.to_pem(), two.trusted.to_pem()
    pinned = TrustedAuthority.from_pem("One", "1.2.3", b"comment\n" + pem)
    root = one.root.certificate
    der = root.public_bytes(Encoding.DER)
    assert pinned.authority.root == hashlib.sha256(der).hexdigest()
    assert pinned.roots == (root,)
    for data, reason in (
        (b"", "no PEM"),
        (b"nonsense", "no PEM"),
        (pem.replace(b"MII", b"AAA"), "no PEM"),
        (pem + other, "exactly one root certificate, .* got 2"),
        (pem * 2, "got 2"),
    ):
        with pytest.raises(OptionError, match=reason):
            TrustedAuthority.from_pem("One", "1.2.3", data)
    below = issue("Below", by=one.root).certificate.public_bytes(Encoding.PEM)
    with pytest.raises(OptionError, match="got 0"):
        TrustedAuthority.from_pem("One", "1.2.3", below)
    for name, policy in (("", "1.2.3"), ("a\nb", "1.2.3"), ("One", "x")):
        with pytest.raises(OptionError, match="authority"):
            TrustedAuthority.from_pem(name, policy, pem)


def test_naming_an_authority_imports_neither_verifier_nor_network() -> None:
    """The package itself is replaced by an empty one: it would import torch, which takes long."""
    code = (
        "import sys, types; package = types.ModuleType('modeldeed'); "
        f"package.__path__ = {modeldeed.__path__!r}; sys.modules['modeldeed'] = package; "
        "import modeldeed.timestamping, modeldeed.timestamping.authority; "
        "print([m for m in ('rfc3161_client', 'httpx', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
