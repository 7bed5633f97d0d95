"""A real server in another process: answers as in this one, and every way to misbehave."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from modeldeed.errors import SuspectError
from modeldeed.suspects.answering import (
    Transcript,
    TranscriptHeader,
    ask_recorded,
    load_endpoint,
    open_suspect,
    require_answering,
)
from modeldeed.suspects.answering.http_suspect import HttpSuspect
from tests.suspects.answering.conftest import endpoint
from tests.suspects.answering.models import CLASSES, images, tiny_model
from tests.suspects.answering.server import TOKEN

JSON_NAMES = {
    "request": {"format": "json", "template": {"instances": "$inputs"}},
    "response": {"path": "predictions.*.label", "kind": "names"},
}
JSON_BASE64 = {
    "request": {"format": "json", "template": {"image": "$image_base64"}},
    "response": {"path": "", "kind": "probabilities"},
}
FORM = {
    "request": {"format": "multipart", "form": {"version": "2"}},
    "response": {"path": "class", "kind": "labels"},
}
JPEG = {
    "request": {"format": "multipart"},
    "response": {"path": "scores", "kind": "probabilities"},
}
TOP_ONE = {"response": {"path": "labels", "kind": "labels"}}


def local(batch: torch.Tensor) -> Any:
    return open_suspect(tiny_model(), group_size=1).answers(batch)


def test_samples_of_the_tests_get_different_labels() -> None:
    assert set(local(images(60)).labels) == set(range(5))


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "kserve": ("/v2/models/m/infer", {}),
    "kserve, pixels": (
        "/v2/models/m/infer",
        {"request": {"format": "kserve-v2", "input": "x", "datatype": "UINT8"}},
    ),
    "kserve, eight at once": ("/v2/models/m/infer", {"samples_per_request": 8}),
    "json names": ("/plain/names", {**JSON_NAMES, "samples_per_request": 7}),
    "json base64": ("/plain/base64", JSON_BASE64),
    "form": ("/form/predict", FORM),
    "one in twenty fails": ("/flaky/infer", {}),
    "one in three is too many": ("/busy/infer", {}),
    "slow": ("/slow/infer", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_answers_over_http_are_those_of_the_model(server: str, case: str) -> None:
    path, fields = CASES[case]
    batch = images(60 if case == "one in twenty fails" else 16)
    expected = local(batch)
    with HttpSuspect(endpoint(server + path, **fields), classes=CLASSES) as suspect:
        found = suspect.answers(batch)
        assert (suspect.queries, len(found)) == (len(batch), len(batch))
        repeated = suspect.attempts > len(batch)
    assert repeated == ("one in" in case)
    assert found.labels == expected.labels
    if found.probabilities is not None:
        torch.testing.assert_close(
            found.probabilities.float(), expected.probabilities, rtol=1e-5, atol=1e-5
        )
        if case == "kserve":  # one by one, nothing differs at all
            assert torch.equal(found.probabilities.float(), expected.probabilities)


def test_every_request_is_counted_as_the_server_counts_it(server: str) -> None:
    before = httpx.get(f"{server}/requests").json().get("/busy/infer", 0)
    with HttpSuspect(endpoint(f"{server}/busy/infer", samples_per_request=2)) as suspect:
        suspect.answers(images(8))
    after = httpx.get(f"{server}/requests").json()["/busy/infer"]
    assert (suspect.queries, suspect.attempts) == (8, 2 * (after - before))
    assert after - before > 4


def test_noise_in_the_labels_passes_through(server: str) -> None:
    batch = images(200)
    with HttpSuspect(
        endpoint(f"{server}/noisy/infer", samples_per_request=20, **TOP_ONE)
    ) as suspect:
        found = suspect.answers(batch)
        with pytest.raises(SuspectError, match="best class only"):
            suspect.probabilities(batch[:1])
    differing = sum(a != b for a, b in zip(found.labels, local(batch).labels, strict=True))
    assert found.probabilities is None
    assert 5 <= differing <= 45  # binomial, 200 at 0.1: outside with probability below 10^-4


def test_a_front_end_that_recompresses_is_just_another_model(server: str) -> None:
    batch = images(8)
    with HttpSuspect(endpoint(f"{server}/form/jpeg", **JPEG)) as suspect:
        found = suspect.answers(batch)
    assert found.probabilities.shape == (8, 5)
    assert not torch.equal(found.probabilities.float(), local(batch).probabilities)
    assert None not in found.labels


@pytest.mark.parametrize("at_once", [1, 5])
def test_refused_samples_are_none_and_take_no_others_along(server: str, at_once: int) -> None:
    batch = images(20)
    dark = (batch.flatten(1).float().mean(1) / 255 < 0.45).tolist()
    expected = tuple(
        None if refused else label for refused, label in zip(dark, local(batch).labels, strict=True)
    )
    assert 3 <= sum(dark) <= 17
    with HttpSuspect(endpoint(f"{server}/choosy/infer", samples_per_request=at_once)) as suspect:
        assert suspect.labels(batch) == expected
        assert suspect.queries == 20
        assert (suspect.attempts > 20) == (at_once > 1)
        assert suspect.last_refusal.startswith("status 422")
        with pytest.raises(SuspectError, match=r"refuses a plain sample \(status 422: .*too dark"):
            require_answering(suspect, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        require_answering(suspect, torch.full((1, 3, 8, 8), 200, dtype=torch.uint8))


def header_of(suspect: Any) -> TranscriptHeader:
    return TranscriptHeader(
        anchor="a" * 64, batch=0, batches=[0], rule="b" * 64, suspect=suspect.identity(),
        description=suspect.description(), time="2026-11-21T13:34:20Z",
    )  # fmt: skip


def test_a_server_that_dies_leaves_what_it_answered(
    server: str, mortal_server: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    batch = images(10)
    path = tmp_path / "transcript.jsonl"
    process, address = mortal_server
    url = f"{address}/v2/models/m/infer"
    with HttpSuspect(endpoint(url)) as suspect:
        header = header_of(suspect)
        with Transcript.open_for(path, header) as transcript:
            assert len(ask_recorded(suspect, batch, transcript, most=4)) == 4
            with pytest.raises(httpx.HTTPError):
                httpx.post(f"{address}/stop")
            process.wait()
            with pytest.raises(SuspectError, match=r"no answer in 6 attempts.*check that it runs"):
                ask_recorded(suspect, batch, transcript)
    assert len(Transcript.read(path).answers) == 4
    # The same address again, as far as the transcript can tell.
    transport = Redirected(server)
    with (
        HttpSuspect(endpoint(url), transport=transport) as again,
        Transcript.open_for(path, header) as transcript,
    ):
        assert ask_recorded(again, batch, transcript) == local(batch).labels
        assert again.queries == 6
        # Asking once more asks nobody.
        assert ask_recorded(again, batch, transcript) == local(batch).labels
        assert again.queries == 6


class Redirected(httpx.HTTPTransport):
    """Lets requests for one address go to another."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._port = int(address.rpartition(":")[2])

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(port=self._port)
        return super().handle_request(request)


# Secrets


def test_the_secret_opens_the_door_and_is_seen_nowhere(
    server: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text(TOKEN + "\n")
    url = f"{server}/guarded/infer"
    (tmp_path / "endpoint.yaml").write_text(
        f"format: modeldeed-endpoint/v1\nurl: {url}\nrequest: {{format: kserve-v2, input: x}}\n"
        "response: {path: outputs.0.data, kind: probabilities}\nauth: {file: token}\n"
    )
    batch = images(3)
    seen = [repr(load_endpoint(tmp_path / "endpoint.yaml"))]
    with open_suspect(tmp_path / "endpoint.yaml") as suspect:
        header = header_of(suspect)
        with Transcript.open_for(tmp_path / "t.jsonl", header) as transcript:
            assert ask_recorded(suspect, batch, transcript) == local(batch).labels
        seen += [repr(suspect), suspect.label, str(suspect.description()), str(vars(suspect))]
    auth = {"file": str(tmp_path / "token"), "scheme": "Wrong"}
    with (
        HttpSuspect(endpoint(url, auth=auth)) as suspect,
        pytest.raises(SuspectError, match=r"status 401.*see auth") as raised,
    ):
        suspect.answers(batch)
    seen += [str(raised.value), repr(raised.value)]
    right = {"file": str(tmp_path / "token")}
    with HttpSuspect(endpoint(f"{server}/choosy/infer", auth=right)) as suspect:
        suspect.answers(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        assert "asked by Bearer [secret]" in suspect.last_refusal
        seen.append(suspect.last_refusal)
    with (
        HttpSuspect(endpoint("http://127.0.0.1:9/", auth=right)) as suspect,
        pytest.raises(SuspectError) as raised,
    ):
        suspect.answers(batch)
    seen += [str(raised.value), caplog.text, *capfd.readouterr()]
    seen.append((tmp_path / "t.jsonl").read_text())
    assert "127.0.0.1" in caplog.text  # something was logged
    assert [text for text in seen if TOKEN in text] == []


@pytest.mark.parametrize(
    ("path", "mending"), [("/nowhere", "404: nothing is there"), ("/requests", "405: it takes no")]
)
def test_a_wrong_address_is_said_to_be_one(server: str, path: str, mending: str) -> None:
    with (
        HttpSuspect(endpoint(server + path)) as suspect,
        pytest.raises(SuspectError, match=mending),
    ):
        suspect.answers(images(1))
    assert suspect.attempts == 1
