"""``modeldeed anchor``: a folder with a request, an answer by file or by post, then the mark."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from modeldeed import Passport, Verdict, verify
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.trust import PinnedAuthority, Trust
from tests.cli.conftest import HOST, Claim, Done, Run, planted
from tests.timestamping.authorities import LocalAuthority, make_authority

KEY = ("--key", "owner.key", "--passphrase-file", "passphrase.txt")
SHAPE = ("--input-shape", "2,1,8,8")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return make_authority(tmp_path_factory.mktemp("tsa"), "One")


@pytest.fixture(scope="module")
def address(one: LocalAuthority) -> Iterator[str]:
    """Return the address of an authority that answers."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            answer = one.stamp(asked)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def trust(one: LocalAuthority, address: str, tmp_path: Path) -> Path:
    pem = one.trusted.to_pem().decode()
    pinned = PinnedAuthority(name="One", policy=one.policy, url=address, certificates=pem)
    path = tmp_path / "trust.json"
    path.write_bytes(Trust(authorities=(pinned,)).to_json())
    return path


def made(run: Run, folder: Path, trust: Path, *more: object) -> Done:
    return run("anchor", "make", folder, "tiny_host:build", *SHAPE, *KEY, "--trust", trust, *more)


def test_by_files(run: Run, claim: Claim, one: LocalAuthority, trust: Path, tmp_path: Path) -> None:
    folder = tmp_path / "anchor"
    done = made(run, folder, trust, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["bits"], found["authority"], found["ready"]) == (160, "One", False)
    assert found["earliest"] is None
    assert "anchor.tsq" in made(run, tmp_path / "text", trust).err

    (tmp_path / "answer.tsr").write_bytes(one.stamp((folder / "anchor.tsq").read_bytes()))
    accepted = run("anchor", "accept", folder, tmp_path / "answer.tsr", "--trust", trust, "--json")
    assert accepted.code == 0, accepted.err
    found = json.loads(accepted.out)
    assert (found["ready"], found["verified"]) == (True, True)
    assert found["earliest"] < found["latest"]

    scope: dict[str, Any] = {}
    exec(HOST, scope)
    model = scope["build"]()
    model.load_state_dict(load_file(folder / "unmarked.safetensors"))
    anchoring = Anchoring.load(folder)
    assert anchoring.anchor.digest == found["anchor"]
    with torch.random.fork_rng():
        passport = Passport.issue(
            model, claim.owner, example=torch.zeros(2, 1, 8, 8), anchor=anchoring
        )
        planted(passport, tmp_path / "passport")
    report = verify(
        model, passport=tmp_path / "passport", owner=claim.owner, trust=Trust.load(trust)
    )
    assert (report.verdict, report.anchored) == (Verdict.VERIFIED, True)


def test_by_post(run: Run, trust: Path, tmp_path: Path) -> None:
    done = made(run, tmp_path / "anchor", trust, "--post", "--authority", "One", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["ready"], found["verified"]) == (True, True)
    assert Anchoring.load(tmp_path / "anchor").ready


def test_a_trained_model_with_triggers_and_a_message(
    run: Run, claim: Claim, trust: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "anchor"
    weights = claim.path("unmarked.safetensors")
    done = made(run, folder, trust, "--weights", weights, "--classes", 10, "--label", "second")
    assert done.code == 0, done.err
    anchoring = Anchoring.load(folder)
    assert (anchoring.label, anchoring.anchor.trigger_rule.classes) == ("second", 10)
    kept = load_file(folder / "unmarked.safetensors")
    expected = load_file(weights)
    assert all(torch.equal(kept[name], expected[name]) for name in expected)


def test_an_answer_that_is_none(run: Run, one: LocalAuthority, trust: Path, tmp_path: Path) -> None:
    folder, answer = tmp_path / "anchor", tmp_path / "answer.tsr"
    assert made(run, folder, trust).code == 0
    answer.write_bytes(b"no answer")
    refused = run("anchor", "accept", folder, answer)
    assert refused.code == 4
    assert "evidence invalid" in refused.err
    token = one.stamp(Anchoring.load(folder).request())
    answer.write_bytes(token)
    unchecked = run("anchor", "accept", folder, answer)
    assert unchecked.code == 0
    assert "not verified" in unchecked.err
    assert run("anchor", "accept", folder, tmp_path / "none.tsr").code == 4


def test_mistakes_are_usage(run: Run, trust: Path, tmp_path: Path) -> None:
    folder = tmp_path / "anchor"
    unknown = made(run, folder, trust, "--authority", "Two")
    assert (unknown.code, "One" in unknown.err) == (2, True)
    assert not folder.exists()
    assert made(run, folder, trust).code == 0
    again = made(run, folder, trust)
    assert (again.code, "already" in again.err) == (2, True)
    empty = tmp_path / "empty.json"
    empty.write_bytes(Trust.empty().to_json())
    nobody = made(run, tmp_path / "other", empty)
    assert (nobody.code, "0 authorities" in nobody.err) == (2, True)
    missing = run("anchor", "accept", tmp_path / "nothing", folder / "anchor.tsq")
    assert (missing.code, "no folder of an anchor" in missing.err) == (2, True)


def test_without_an_address_the_request_is_left(
    run: Run, one: LocalAuthority, tmp_path: Path
) -> None:
    pem = one.trusted.to_pem().decode()
    pinned = PinnedAuthority(name="One", policy=one.policy, certificates=pem)
    path = tmp_path / "trust.json"
    path.write_bytes(Trust(authorities=(pinned,)).to_json())
    done = made(run, tmp_path / "anchor", path, "--post")
    assert done.code == 2
    assert "no address" in done.err
    assert not Anchoring.load(tmp_path / "anchor").ready
