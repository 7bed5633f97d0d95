"""Asking an authority over the network, also one that means ill."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.timestamping import check, request
from modeldeed.timestamping.client import AuthorityUnreachable, post
from tests.timestamping.authorities import LocalAuthority

IMPRINT = hashlib.sha256(b"a deed").digest()
URL = "https://tsa.example/"
REPLY = {"Content-Type": "application/timestamp-reply"}


def answering(**fields: Any) -> httpx.MockTransport:
    return httpx.MockTransport(lambda sent: httpx.Response(**{"status_code": 200, **fields}))


def take_request(line: socket.socket) -> None:
    """Read a whole request: whoever hangs up with some of it unread resets the connection."""

    def more() -> bytes:
        data = line.recv(65536)
        if not data:
            raise OSError("the client hung up")
        return data

    taken = b""
    while b"\r\n\r\n" not in taken:
        taken += more()
    head, _, body = taken.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert found
    while len(body) < int(found[1]):
        body += more()


@contextlib.contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                line, _ = server.accept()
                with line:
                    take_request(line)
                    talk(line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/tsa"
        thread.join(5)
        assert not thread.is_alive()


def test_a_request_gets_its_answer(one: LocalAuthority) -> None:
    seen: list[httpx.Request] = []

    def handle(sent: httpx.Request) -> httpx.Response:
        seen.append(sent)
        return httpx.Response(200, headers=REPLY, content=one.stamp(sent.content))

    asked = request(IMPRINT)
    answer = post(URL, asked, transport=httpx.MockTransport(handle))
    assert check(answer, IMPRINT, [one.trusted], request=asked).imprint == IMPRINT
    (sent,) = seen
    assert (sent.method, str(sent.url), sent.content) == ("POST", URL, asked)
    assert sent.headers["Content-Type"] == "application/timestamp-query"
    assert sent.headers["Accept"] == "application/timestamp-reply"


def test_over_a_real_connection(one: LocalAuthority) -> None:
    asked = request(IMPRINT)
    answer = one.stamp(asked)
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply; x=y\r\n"
    with serving(lambda line: line.sendall(f"{head}\r\n".encode() + answer)) as url:
        assert post(url, asked, timeout=5) == answer


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://tsa.example/", "not encrypted; use https"),
        ("ftp://tsa.example/", "begins with http"),
        ("tsa.example", "begins with http"),
        ("https://me:secret@tsa.example/", "user or password"),
    ],
)
def test_addresses(url: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        post(url, request(IMPRINT), transport=answering())


def test_what_is_sent_is_a_request() -> None:
    for data in (b"", bytes(100), b"x" * 10**6):
        with pytest.raises(EvidenceError):
            post(URL, data, transport=answering())
    for timeout in (0, -1, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="timeout"):
            post(URL, request(IMPRINT), timeout=timeout, transport=answering())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status_code": 404}, "status 404"),
        ({"status_code": 500, "headers": REPLY}, "status 500"),
        ({"status_code": 204, "headers": REPLY}, "status 204"),
        ({"headers": {"Content-Type": "text/html"}}, "'text/html'"),
        ({"headers": {}}, "answers with type ''"),
        ({"headers": {**REPLY, "Content-Encoding": "br"}}, "in coding 'br'"),
        ({"headers": {**REPLY, "Content-Length": str(10**9)}}, "announces 1000000000 bytes"),
        ({"headers": REPLY, "content": bytes(65537)}, "65537 bytes, over the 65536 taken"),
    ],
)
def test_useless_answers(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(AuthorityUnreachable, match=reason):
        post(URL, request(IMPRINT), transport=answering(**fields))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    asked = []

    def handle(sent: httpx.Request) -> httpx.Response:
        asked.append(sent.url.host)
        return httpx.Response(status, headers={"Location": "https://elsewhere.example/"})

    with pytest.raises(AuthorityUnreachable, match="redirects are not followed"):
        post(URL, request(IMPRINT), transport=httpx.MockTransport(handle))
    assert asked == ["tsa.example"]


def test_a_gigabyte_is_refused_early() -> None:
    taken = []

    def gigabyte() -> Iterator[bytes]:
        for _ in range(1000):
            taken.append(1)
            yield bytes(10**6)

    with pytest.raises(AuthorityUnreachable, match="more than the 65536 bytes"):
        post(URL, request(IMPRINT), transport=answering(headers=REPLY, content=gigabyte()))
    assert len(taken) <= 2


@pytest.mark.parametrize("part", ["nothing", "headers", "body"])
def test_slowness_ends_in_time(part: str) -> None:
    """Also of an authority that sends a byte now and then, which restarts every simple timeout."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\n"

    def drip(line: socket.socket) -> None:
        line.sendall(b"" if part == "nothing" else whole if part == "headers" else whole + b"\r\n")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if part == "nothing":
                line.recv(1)  # ends when the other side hangs up
                return
            time.sleep(0.05)
            line.sendall(b"x")

    begin = time.monotonic()
    with serving(drip) as url:
        with pytest.raises(AuthorityUnreachable, match=r"within 0\.3 s"):
            post(url, request(IMPRINT), timeout=0.3)
        assert time.monotonic() - begin < 2


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AuthorityUnreachable, match="ConnectError"):
        post(f"http://127.0.0.1:{port}/", request(IMPRINT), timeout=2)


def test_errors_are_what_callers_expect() -> None:
    assert issubclass(AuthorityUnreachable, OSError)
    assert not issubclass(AuthorityUnreachable, EvidenceError)
