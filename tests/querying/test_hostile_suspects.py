"""Suspects that answer so as to mislead the judge, to learn from him, or to stop him."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modeldeed import Verdict, query
from modeldeed.errors import SuspectError
from modeldeed.suspects.answering import Endpoint
from modeldeed.suspects.answering.http_suspect import HttpSuspect
from modeldeed.suspects.answering.waiting import Clock, retry_after
from tests.querying.answerers import OWNER, Knowing, trigger_set


def wrong(label: int) -> int:
    return (label + 1) % 10


# --- answers that are none ---


@pytest.mark.parametrize("number", [2**62, -(2**63), 2**53])
def test_a_class_number_beyond_all_bounds_is_an_answer_or_a_suspects_fault(
    tmp_path: Path, number: int
) -> None:
    """An ONNX file may well hold int64 classes; none of them may end in a defect of ours."""
    triggers = trigger_set()
    suspect = Knowing(triggers, lambda *_: number)
    try:
        report = query(suspect, triggers=triggers, owner=OWNER, transcripts=tmp_path)
    except SuspectError:
        return
    assert report.verdict is Verdict.NOT_VERIFIED


def test_answers_that_are_no_class_of_the_claim_are_told() -> None:
    """An endpoint that renames its classes would clear itself, and nobody would look."""
    triggers = trigger_set()
    report = query(Knowing(triggers, lambda *_: -1), triggers=triggers, owner=OWNER)
    assert report.answers is not None
    assert report.verdict is Verdict.INCONCLUSIVE or any("class" in w for w in report.warnings)


# --- endpoints ---

ODD_DATES = [
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
    "1 Jan 2020 00:00:99999999999999999999",
]


@pytest.mark.parametrize("header", ODD_DATES)
def test_an_odd_date_in_retry_after_is_no_date(header: str) -> None:
    assert retry_after(header, Clock()) is None


def endpoint(url: str) -> Endpoint:
    return Endpoint.from_fields(
        {
            "url": url,
            "request": {"format": "json", "template": {"x": "$inputs"}},
            "response": {"path": "", "kind": "labels"},
            "timeout_seconds": 0.4,
            "retries": {"attempts": 1, "first_wait": 0.001, "longest_wait": 0.01},
        }
    )


@pytest.mark.parametrize("header", ODD_DATES)
def test_an_endpoint_cannot_end_the_tool_by_a_header(header: str) -> None:
    httpx = pytest.importorskip("httpx")
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"Retry-After": header}, content=b"[3]")
    )
    with HttpSuspect(endpoint("http://127.0.0.1/"), transport=transport) as suspect:
        assert suspect.labels(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)) == (3,)


def _drop_by_drop() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    yield from [b"a"] * 16
    yield b"\r\nContent-Length: 3\r\n\r\n[3]"


def _always_soon() -> Iterator[bytes]:
    yield from [b"HTTP/1.1 100 Continue\r\n\r\n"] * 16
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[3]"


@pytest.mark.parametrize("response", [_drop_by_drop, _always_soon])
def test_headers_that_come_drop_by_drop_run_out_of_time(
    response: Callable[[], Iterator[bytes]],
) -> None:
    """timeout_seconds is for a request as a whole: without a bound, one lasts for weeks."""
    pytest.importorskip("httpx")

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            try:
                connection.recv(65_536)
                for part in response():
                    connection.sendall(part)
                    time.sleep(0.1)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        with HttpSuspect(endpoint(f"http://127.0.0.1:{server.getsockname()[1]}/")) as suspect:
            try:
                with pytest.raises(SuspectError, match="no answer in 1 attempts"):
                    suspect.labels(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
            finally:
                took = time.monotonic() - began
                thread.join()
    assert took < 1.4


def test_what_a_function_sees_does_not_depend_on_what_matched() -> None:
    """A function that passes its groups on to a service tells it how many answers matched."""
    triggers = trigger_set()
    shapes = []
    for says in (
        lambda _, label: label,
        lambda number, label: wrong(label) if number % 3 == 0 else label,
    ):
        knowing = Knowing(triggers, says)
        seen: list[int] = []

        def function(images: Tensor, knowing: Knowing = knowing, seen: list[int] = seen):  # type: ignore[no-untyped-def]
            seen.append(len(images))
            return list(knowing.labels((images * 255).round().to(torch.uint8)))

        query(function, triggers=triggers, owner=OWNER)
        shapes.append(seen)
    shortest = min(map(len, shapes))
    assert shapes[0][:shortest] == shapes[1][:shortest]
