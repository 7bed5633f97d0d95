"""A command line in processes of their own, and a claim to try it on.

Starting Python and importing PyTorch costs two seconds, so one process imports the command line
and every call is a fork of it: its own process, arguments, folder, streams and exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modeldeed import Owner, Passport
from tests.conftest import PASSPHRASE, secret_file_bytes

SERVER = """
import json, os, sys
import torch
from modeldeed import Passport
from modeldeed.cli import main
from modeldeed.cli.commands import COMMANDS, load
for name in COMMANDS:
    load(name)
# The first trace imports much; done before the fork, it is done once.
Passport.plan(torch.nn.BatchNorm2d(8), example=torch.zeros(2, 8, 1, 1))
for line in iter(sys.stdin.readline, ""):
    task = json.loads(line)
    child = os.fork()
    if not child:
        break
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(1, b"%d\\n" % code)
else:
    os._exit(0)
os.chdir(task["folder"])
os.environ.update(task["environment"])
for number, path, flags in (
    (0, os.devnull, os.O_RDONLY),
    (1, task["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    (2, task["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
):
    os.dup2(os.open(path, flags, 0o600), number)
sys.argv = ["modeldeed", *task["arguments"]]
exec(task["before"])
try:
    main()
    code = 0
except SystemExit as end:
    code = int(end.code or 0)
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)  # taking PyTorch down would cost half a second a call
"""

HOST = """
from collections import OrderedDict

import torch
from torch import nn


def build():
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 32, 3, padding=1, bias=False), norm1=nn.BatchNorm2d(32), act1=nn.ReLU(),
        conv2=nn.Conv2d(32, 64, 3, padding=1, bias=False), norm2=nn.BatchNorm2d(64), act2=nn.ReLU(),
        conv3=nn.Conv2d(64, 64, 3, padding=1, bias=False), norm3=nn.BatchNorm2d(64), act3=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(64, 10),
    ))


def without_norms():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))


def example():
    return torch.zeros(2, 1, 8, 8)


def no_module():
    return 3


value = 3
"""


@dataclass(frozen=True)
class Done:
    """What a call left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, claim: Claim) -> Iterator[Run]:
    """Return a function that runs the command line and returns what it left."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    streams = tmp_path_factory.mktemp("streams")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def call(
        *arguments: object, before: str = "", folder: Path | None = None, **environment: str
    ) -> Done:
        task = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(folder or claim.folder),
            "environment": environment,
            "before": before,
            "out": str(streams / "out"),
            "err": str(streams / "err"),
        }
        print(json.dumps(task), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return Done(code, *((streams / name).read_text("utf-8") for name in ("out", "err")))

    yield call
    server.stdin.close()
    assert server.wait(10) == 0
    server.stdout.close()


@dataclass(frozen=True)
class Claim:
    """A marked model, its passport and two key files, all in one folder."""

    folder: Path
    owner: Owner
    state: dict[str, torch.Tensor]

    def path(self, name: str) -> Path:
        return self.folder / name

    def verify(self, weights: str = "marked.safetensors", **options: Any) -> list[str]:
        """The arguments of a verification; an option given as None is left out."""
        chosen = {
            "passport": "passport",
            "key": "owner.key",
            "passphrase_file": "passphrase.txt",
            **options,
        }
        arguments = ["verify", weights]
        for name, value in chosen.items():
            if value is not None:
                arguments += [f"--{name.replace('_', '-')}", str(value)]
        return arguments


def planted(passport: Passport, folder: Path, steps: int = 25) -> None:
    """Write the signature into the host by its loss alone, and save the passport."""
    optimizer = torch.optim.Adam(passport.host.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    passport.save(folder)


@pytest.fixture(scope="session")
def claim(tmp_path_factory: pytest.TempPathFactory, owner: Owner, stranger: Owner) -> Claim:
    """Return a marked model whose 160 bits were planted in about a second."""
    folder = tmp_path_factory.mktemp("claim")
    (folder / "tiny_host.py").write_text(HOST)
    scope: dict[str, Any] = {}
    exec(HOST, scope)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        host, small = scope["build"](), scope["build"]()
        example = scope["example"]()
        save_file(host.state_dict(), folder / "unmarked.safetensors")
        passport = Passport.issue(host, owner, example=example)
        planted(passport, folder / "passport")
        few = Passport.issue(small, owner, example=example, targets=["norm3"], label="few")
        planted(few, folder / "few-passport")
    state = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    save_file(state, folder / "marked.safetensors")
    save_file(small.state_dict(), folder / "few.safetensors")
    for name, master in (("owner.key", bytes(range(32))), ("stranger.key", bytes(range(100, 132)))):
        (folder / name).write_bytes(secret_file_bytes(master, name))
        (folder / name).chmod(0o600)
    (folder / "passphrase.txt").write_text(PASSPHRASE + "\nsecond line\n")
    (folder / "wrong.txt").write_text("a wrong passphrase\n")
    (folder / "empty.txt").write_text("\n")
    return Claim(folder, owner, state)
