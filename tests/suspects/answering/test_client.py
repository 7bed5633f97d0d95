"""Retries, pace, limits and refusals of the client; no network and no waiting."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import torch

from modeldeed.errors import OptionError, SuspectError
from modeldeed.suspects.answering import Endpoint
from modeldeed.suspects.answering.http_suspect import HttpSuspect
from modeldeed.suspects.answering.waiting import Clock
from tests.suspects.answering.conftest import KSERVE
from tests.suspects.answering.models import images

URL = "https://models.example/v2/models/m/infer"


class FakeClock(Clock):
    """Time that passes only by waiting; waits are as long as they may be."""

    def __init__(self) -> None:
        self.time, self.waits = 100.0, []

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime(2026, 11, 21, tzinfo=timezone.utc) + timedelta(seconds=self.time)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    def uniform(self) -> float:
        return 1.0


def good(request: httpx.Request) -> httpx.Response:
    count = json.loads(request.content)["inputs"][0]["shape"][0]
    return httpx.Response(200, json={"outputs": [{"data": [0.1, 0.9] * count}]})


def suspect_of(
    handler: Callable[[httpx.Request], httpx.Response], **fields: Any
) -> tuple[HttpSuspect, FakeClock]:
    clock = FakeClock()
    endpoint = Endpoint.from_fields({"url": URL, **KSERVE, **fields})
    transport = httpx.MockTransport(handler)
    return HttpSuspect(endpoint, transport=transport, clock=clock), clock


def scripted(*steps: Any) -> Callable[[httpx.Request], httpx.Response]:
    """Play steps, one a request: a status, a response, an error; then good answers."""
    remaining = list(steps)

    def handle(request: httpx.Request) -> httpx.Response:
        if not remaining:
            return good(request)
        step = remaining.pop(0)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx.Response) else httpx.Response(step)

    return handle


@pytest.mark.parametrize(
    "failure",
    [408, 429, 500, 502, 503, 504, httpx.ConnectError("x"), httpx.ReadTimeout("x"),
     httpx.RemoteProtocolError("x")],
    ids=str,
)  # fmt: skip
def test_passing_failures_are_repeated_with_growing_waits(failure: Any) -> None:
    suspect, clock = suspect_of(scripted(failure, failure, failure))
    assert suspect.labels(images(1)) == (1,)
    assert clock.waits == [0.5, 1.0, 2.0]
    assert (suspect.queries, suspect.attempts) == (1, 4)


def test_waits_have_full_jitter_and_a_longest() -> None:
    suspect, clock = suspect_of(scripted(*[500] * 5), retries={"first_wait": 1, "longest_wait": 3})
    draws = iter([0.0, 0.5, 0.25, 1.0, 1.0])
    clock.uniform = lambda: next(draws)  # type: ignore[method-assign]
    suspect.answers(images(1))
    assert clock.waits == [0.0, 1.0, 0.75, 3.0, 3.0]


def in_seconds(seconds: int) -> str:
    return format_datetime(FakeClock().now() + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "waited"),
    [("7", 7.0), ("0", 0.5), ("9999", 60.0), ("soon", 0.5), ("-3", 0.5), (in_seconds(20), 20.0),
     (in_seconds(-20), 0.5), ("9" * 5000, 0.5), ("Wed, 99 Nov 2026 99:00:00 GMT", 0.5)],
)  # fmt: skip
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honored_up_to_the_longest_wait(
    header: str, waited: float, status: int
) -> None:
    response = httpx.Response(status, headers={"Retry-After": header})
    suspect, clock = suspect_of(scripted(response))
    suspect.answers(images(1))
    assert clock.waits == [waited]


def test_after_all_attempts_the_suspect_is_unreachable() -> None:
    suspect, clock = suspect_of(scripted(*[httpx.ConnectError("x")] * 9))
    with pytest.raises(SuspectError, match=r"models\.example.*6 attempts, at last: ConnectError"):
        suspect.answers(images(1))
    assert (suspect.queries, suspect.attempts, len(clock.waits)) == (1, 6, 5)


def test_no_more_requests_a_second_than_allowed() -> None:
    suspect, clock = suspect_of(scripted(), requests_per_second=4)
    start = clock.time
    suspect.answers(images(9))
    assert clock.time - start == pytest.approx(2.0)
    # A pause that was there anyway is not made up for by a burst.
    clock.time += 100
    suspect.answers(images(3))
    assert clock.time - start == pytest.approx(102.5)


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "see auth"), (403, "not allowed"), (404, "check url"), (405, "no POST"),
     (407, "proxy"), (301, "put the address"), (304, "put the address")],
)  # fmt: skip
def test_failures_that_stay_are_not_repeated(status: int, text: str) -> None:
    suspect, clock = suspect_of(scripted(status))
    with pytest.raises(SuspectError, match=f"status {status}: .*{text}"):
        suspect.answers(images(1))
    assert (suspect.attempts, clock.waits) == (1, [])


def test_no_redirect_is_followed() -> None:
    asked = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(307, headers={"Location": "https://elsewhere.example/?a=b"})

    suspect, _ = suspect_of(handle)
    with pytest.raises(SuspectError, match="status 307"):
        suspect.answers(images(1))
    assert asked == ["models.example"]


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422, 451])
def test_other_client_errors_are_refusals(status: int) -> None:
    refusal = httpx.Response(status, text="no\x1b[31m thanks")
    suspect, clock = suspect_of(scripted(refusal))
    assert suspect.labels(images(2)) == (None, 1)
    assert suspect.last_refusal == f"status {status}: no?[31m thanks"
    assert (suspect.queries, suspect.attempts, clock.waits) == (2, 2, [])


def test_a_refused_group_is_asked_one_by_one() -> None:
    sizes = []

    def handle(request: httpx.Request) -> httpx.Response:
        sizes.append(json.loads(request.content)["inputs"][0]["shape"][0])
        return httpx.Response(422) if sizes[-1] == 3 or len(sizes) == 3 else good(request)

    suspect, _ = suspect_of(handle, samples_per_request=3)
    found = suspect.answers(images(5))
    assert sizes == [3, 1, 1, 1, 2]
    assert found.labels == (1, None, 1, 1, 1)
    assert torch.isnan(found.probabilities).all(1).tolist() == [False, True, False, False, False]
    assert (suspect.queries, suspect.attempts) == (5, 8)


def test_a_number_of_classes_that_changes_is_no_answer() -> None:
    three = httpx.Response(200, json={"outputs": [{"data": [1, 2, 3]}]})
    suspect, _ = suspect_of(scripted(three))
    with pytest.raises(SuspectError, match="2 and then 3 classes"):
        suspect.answers(images(2))


class Drops(httpx.SyncByteStream):
    """A body that comes part by part, while time passes."""

    def __init__(self, clock: list[FakeClock], parts: int, pause: float) -> None:
        self.clock, self.parts, self.pause, self.given = clock, parts, pause, 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.parts):
            self.clock[0].time += self.pause
            self.given += 1
            yield b" " * 1000


def test_a_response_that_is_too_long_is_not_read_to_its_end() -> None:
    drops = Drops([], 10**9, 0)
    suspect, clock = suspect_of(
        scripted(httpx.Response(200, stream=drops)), most_response_bytes=5_000
    )
    drops.clock.append(clock)
    with pytest.raises(SuspectError, match="more than 5000 bytes"):
        suspect.answers(images(1))
    assert drops.given == 6


def test_a_response_that_drips_is_given_up_and_asked_again() -> None:
    drops = Drops([], 10**9, 4.0)
    suspect, clock = suspect_of(scripted(httpx.Response(200, stream=drops)), timeout_seconds=10)
    drops.clock.append(clock)
    assert suspect.labels(images(1)) == (1,)
    assert (drops.given, suspect.attempts) == (3, 2)


def test_a_compressed_response_is_refused() -> None:
    response = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Drops([], 0, 0))
    suspect, _ = suspect_of(scripted(response))
    with pytest.raises(SuspectError, match="compressed"):
        suspect.answers(images(1))


def test_an_untrusted_certificate_is_not_asked_again() -> None:
    error = httpx.ConnectError("failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed")
    suspect, clock = suspect_of(scripted(error))
    with pytest.raises(SuspectError, match=r"tls\.ca_file"):
        suspect.answers(images(1))
    assert clock.waits == []


def test_a_file_of_certificates_has_to_be_one(tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(OptionError, match=rf"{name} holds no usable certificates"):
            HttpSuspect(
                Endpoint.from_fields({"url": URL, **KSERVE, "tls": {"ca_file": name}}),
                folder=tmp_path,
            )


def test_what_goes_over_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_TOKEN", "  abc.def\n")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return good(request)

    suspect, _ = suspect_of(
        handle,
        auth={"environment": "MODEL_TOKEN", "header": "X-Auth", "scheme": ""},
        headers={"X-Model": "b"},
    )
    suspect.answers(images(1))
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.headers["X-Auth"] == "abc.def"
    assert request.headers["X-Model"] == "b"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"
    monkeypatch.delenv("MODEL_TOKEN")
    with pytest.raises(OptionError, match="MODEL_TOKEN, which is not set"):
        suspect_of(handle, auth={"environment": "MODEL_TOKEN"})


@pytest.mark.parametrize("text", ["", "two words", "líne", "a\nb", "x" * 20_000])
def test_a_secret_that_no_header_holds_is_refused_unseen(
    text: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(text, "utf-8")
    with pytest.raises(OptionError, match=r"token holds|the file") as raised:
        suspect_of(good, auth={"file": str(tmp_path / "token")})
    assert not text or text not in str(raised.value)


def test_a_form_that_does_not_fit_asks_nobody() -> None:
    suspect, _ = suspect_of(good)
    with pytest.raises(OptionError, match=r"set request\.datatype"):
        suspect.answers(torch.ones(1, 4, dtype=torch.int64))
    assert (suspect.queries, suspect.attempts) == (0, 0)
