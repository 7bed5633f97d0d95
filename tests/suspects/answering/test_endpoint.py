"""Endpoint files: read strictly, without secrets, and one identity for one endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modeldeed.errors import OptionError, SuspectError
from modeldeed.suspects.answering import Endpoint, load_endpoint
from modeldeed.suspects.answering.http_suspect import HttpSuspect
from modeldeed.suspects.answering.secret import looks_secret
from tests.suspects.answering.conftest import KSERVE

GOLDEN = Path(__file__).parent / "golden"
URL = "https://models.example/infer"
SECRET = "hunter2hunter2"


def fields(**more: Any) -> dict[str, Any]:
    return {"url": URL, **KSERVE, **more}


def test_the_golden_file_reads_as_ever() -> None:
    endpoint = load_endpoint(GOLDEN / "endpoint-v1.yaml")
    assert endpoint.url == "https://models.example/v2/models/m/infer"
    assert endpoint.preparation.mean == (0.4914, 0.4822, 0.4465)
    assert (endpoint.samples_per_request, endpoint.requests_per_second) == (8, 5)
    assert endpoint.auth.environment == "MODEL_TOKEN"
    assert endpoint.retries.attempts == 8
    assert load_endpoint(GOLDEN / "endpoint-v1.json") == endpoint
    expected = json.loads((GOLDEN / "endpoint-v1.description.json").read_text())
    assert endpoint.description() == expected["description"]


def test_the_identity_of_the_golden_file_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_TOKEN", "abc")
    expected = json.loads((GOLDEN / "endpoint-v1.description.json").read_text())
    with HttpSuspect(load_endpoint(GOLDEN / "endpoint-v1.yaml")) as suspect:
        assert suspect.identity() == expected["identity"]


def identity(**more: Any) -> str:
    with HttpSuspect(Endpoint.from_fields(fields(**more)), classes=["a", "b"]) as suspect:
        return suspect.identity()


def test_how_it_is_reached_does_not_change_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "abc")
    monkeypatch.setenv("TWO", "def")
    plain = identity()
    for change in (
        {"auth": {"environment": "ONE"}}, {"auth": {"environment": "TWO"}},
        {"timeout_seconds": 5}, {"requests_per_second": 2.5}, {"retries": {"attempts": 1}},
        {"proxy": "http://proxy.example:3128"}, {"headers": {"X-Trace": "1"}},
        {"samples_per_request": 4}, {"url": "HTTPS://MODELS.example:443/infer"},
    ):  # fmt: skip
        assert identity(**change) == plain, change
    different = [
        {"url": URL + "2"}, {"model": "b"}, {"preparation": {"images": "NHWC"}},
        {"request": {"format": "kserve-v2", "input": "y"}},
        {"response": {"path": "outputs.0.data", "kind": "labels"}},
        {"response": {"path": "outputs.0.data", "kind": "names"}},
        {"request": {"format": "json", "template": {"x": "$inputs", "temperature": 0.5}}},
    ]  # fmt: skip
    assert len({plain, *(identity(**change) for change in different)}) == 8


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"headers": {"Authorization": SECRET}}, "auth: {header: Authorization, environment"),
    ({"headers": {"x-api-key": SECRET}}, "would hold a secret"),
    ({"headers": {"Cookie": SECRET}}, "would hold a secret"),
    ({"headers": {"Host": "a"}}, "set by the client"),
    ({"headers": {"X-A": "1", "x-a": "2"}}, "stands twice"),
    ({"headers": {"X-A": "a\r\nX-B: c"}}, "headers"),
    ({"url": f"https://user:{SECRET}@models.example/"}, "user or password"),
    ({"url": f"https://models.example/?api_key={SECRET}"}, "looks like a secret"),
    ({"url": "ftp://models.example/"}, "http"),
    ({"url": "models.example"}, "http"),
    ({"url": "https://models.example/#top"}, "fragment"),
    ({"url": "https://models.example:99999/"}, "malformed at url"),
    ({"url": "https://mödels.example/"}, "ASCII"),
    ({"proxy": f"http://a:{SECRET}@proxy.example"}, "user or password"),
    ({"auth": {"environment": "A", "file": "b"}}, "one of environment and file"),
    ({"auth": {}}, "one of environment and file"),
    ({"auth": {"token": SECRET}}, "auth.token"),
    ({"auth": {"environment": "A"}, "url": "http://models.example/"}, "unencrypted"),
    ({"auth": {"environment": "A", "header": "X-A"}, "headers": {"x-a": "1"}}, "set twice"),
    ({"unknown": SECRET}, "malformed at unknown"),
    ({"format": "modeldeed-endpoint/v2"}, "malformed at format"),
    ({"timeout_seconds": 0}, "timeout_seconds"),
    ({"timeout_seconds": "30"}, "timeout_seconds"),
    ({"samples_per_request": True}, "samples_per_request"),
    ({"retries": {"attempts": 0}}, r"retries\.attempts"),
    ({"tls": {"verify": False}}, r"tls\.verify"),
    ({"preparation": {"mean": [0.5]}}, "mean and std go together"),
    ({"preparation": {"mean": [0.5], "std": [0]}}, "std above 0"),
    ({"preparation": {"layout": "NCHW"}}, r"preparation\.layout"),
    ({"request": {"format": "grpc"}}, "malformed at request"),
    ({"request": {"format": "json", "template": {"a": "$picture"}}}, "unknown placeholder"),
    ({"request": {"format": "json", "template": {"a": "b"}}}, "needs a placeholder"),
    ({"request": {"format": "json", "template": ["$input", "$inputs"]}}, "do not go together"),
    ({"request": {"format": "json", "template": {"api_key": SECRET, "x": "$input"}}}, "a secret"),
    ({"request": {"format": "multipart", "form": {"token": SECRET}}}, "a secret"),
    ({"request": {"format": "multipart"}, "samples_per_request": 2}, "holds one sample"),
    ({"response": {"path": "a..b", "kind": "labels"}}, "joined by points"),
    ({"response": {"path": "*.*", "kind": "labels"}}, "at most one"),
    ({"response": {"path": "a", "kind": "label"}}, r"response\.kind"),
    ({"model": {1, 2}}, "plain JSON values"),
    ({"timeout_seconds": float("nan")}, "plain JSON values"),
]


@pytest.mark.parametrize(("change", "text"), REFUSED)
def test_what_is_out_of_range_is_refused_without_quoting_it(
    change: dict[str, Any], text: str
) -> None:
    with pytest.raises(OptionError, match=text.replace("{", r"\{")) as raised:
        Endpoint.from_fields(fields(**change))
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_plain_connection_carries_a_secret_only_where_it_is_said_to() -> None:
    auth = {"environment": "A"}
    for url in ("http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost/"):
        Endpoint.from_fields(fields(url=url, auth=auth))
    allowed = {**auth, "allow_plain_http": True}
    Endpoint.from_fields(fields(url="http://models.internal/", auth=allowed))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format: [", "cannot be parsed: .* in line 1"),
        ("a: 1\na: 2", "'a' stands twice"),
        ("a: &x 1\nb: *x", "aliases"),
        ("1: 2", "names of fields are texts"),
        ("- a", "is no endpoint's configuration"),
        ("", "is no endpoint's configuration"),
        ("url: x", "lacks 'format"),
        ("format: modeldeed-endpoint/v1\nmodel: 2026-01-01", "plain JSON values"),
        ("format: !!python/object/apply:os.system ['true']", "cannot be parsed"),
        ("[" * 5000, "cannot be parsed"),
        ("\udcff", "cannot be parsed"),
        ("#" + "x" * 2**20, "too large"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "endpoint.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(OptionError, match=message):
        load_endpoint(path)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "{", '{"a": NaN}', "[" * 100_000])
def test_json_is_read_as_strictly(tmp_path: Path, text: str) -> None:
    (tmp_path / "endpoint.json").write_text(text)
    with pytest.raises(OptionError, match="cannot be parsed"):
        load_endpoint(tmp_path / "endpoint.json")


def test_a_missing_file_or_a_folder_is_no_suspect(tmp_path: Path) -> None:
    with pytest.raises(SuspectError, match="No such file"):
        load_endpoint(tmp_path / "endpoint.yaml")
    with pytest.raises(SuspectError, match="no regular file"):
        load_endpoint(tmp_path)


def test_names_need_classes() -> None:
    named = fields(response={"path": "", "kind": "names"})
    endpoint = Endpoint.from_fields(named)
    for classes, text in ((None, "give classes"), ([], "give classes"), (["a", "a"], "twice")):
        with pytest.raises(OptionError, match=text):
            HttpSuspect(endpoint, classes=classes)
    given = Endpoint.from_fields(
        fields(response={"path": "", "kind": "names", "names": {"a": 1, "Ant": 1}})
    )
    HttpSuspect(given).close()


@pytest.mark.parametrize("name", ["Authorization", "proxy-authorization", "X-Auth-Token", "apikey",
                                  "API_KEY", "x-amz-security-token", "Set-Cookie", "client_secret",
                                  "key", "access_token", "Ocp-Apim-Subscription-Key"])  # fmt: skip
def test_names_of_secrets_are_known(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name", ["X-Model", "tokens", "max_tokens", "tokenizer", "monkey", "Accept"]
)
def test_other_names_are_none_of_secrets(name: str) -> None:
    assert not looks_secret(name)
