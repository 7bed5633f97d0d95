"""What forgers make: claims, folders and files, for the tests that try them on the judge."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport, Report, models, verify
from modeldeed.anchor import Anchor, PassportRule, Target, seed_commitment
from modeldeed.errors import EvidenceError
from modeldeed.passport.evidence import files
from modeldeed.passport.evidence.manifest import Manifest
from tests.passport.hosts import digits_like

OWNER = Owner(bytes(range(32)), "owner")
CLAIMANT = Owner(bytes(range(50, 82)), "claimant")
STEM = Target(
    norm="stem.norm", kind="batch", channels=16, affine=None, weight="stem.conv.weight",
    shape=(16, 1, 3, 3), axis=0, side="rows",
)  # fmt: skip


def filed(manifest: Manifest) -> Manifest:
    """What the judge makes of a manifest's file."""
    return Manifest.from_json(manifest.to_json())


def claimed(
    targets: list[Target], label: str = "model", owner: Owner = CLAIMANT, **rule: str
) -> Manifest:
    """A manifest of the claimant's own making, with any list of targets, as the judge reads it."""
    public = owner.identity.public_key
    anchor = Anchor.model_construct(  # unchecked, as a claimant may write it
        identity=public.hex(),
        seed_commitment=seed_commitment(owner.seed(label), public),
        weights_root="1" * 64,
        architecture="2" * 64,
        planner=1,
        targets=tuple(targets),
        passport=PassportRule.model_validate({"head": "keyed", **rule}),
    )
    manifest = Manifest.model_construct(anchor=anchor, label=label, calls={})
    return filed(manifest.signed_by(owner, state=None))


def changed(target: Target, **fields: Any) -> Target:
    return Target.model_validate({**target.model_dump(), **fields})


def refused_or_judged(suspect: Any, make: Callable[[], Manifest], owner: Owner) -> Report | None:
    """The report of a claim; None when it is refused as evidence, in making or in judging."""
    try:
        return verify(suspect, passport=make(), owner=owner)
    except EvidenceError:
        return None
    except ValueError:
        make()  # refusing to build the claim at all is as good; anything later is a crash
        raise


@dataclass(frozen=True)
class Victim:
    host: nn.Module
    passport: Passport
    folder: Path
    unmarked: dict[str, Tensor]

    def claim(self, path: Path, owner: Owner = OWNER, **anchor: Any) -> Path:
        """A copy of the passport's folder with changes in the anchor, signed by anyone."""
        shutil.copytree(self.folder, path)
        manifest = files.load_manifest(path)
        edited = manifest.model_copy(update={"anchor": manifest.anchor.model_copy(update=anchor)})
        signed = edited.signed_by(owner, state=manifest.state)
        (path / files.MANIFEST).write_bytes(signed.to_json())
        return path


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """A small host with its 720 bits pressed in, and its passport's folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = models.resnet_small()
    unmarked = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    passport = Passport.issue(host, OWNER, example=digits_like())
    optimizer = torch.optim.Adam(host.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    host.eval()
    folder = tmp_path_factory.mktemp("victim") / "passport"
    passport.save(folder)
    assert verify(host, passport=folder, owner=OWNER).signature.matches == 720
    return Victim(host, passport, folder, unmarked)


def with_state(folder: Path, path: Path, data: bytes, owner: Owner = OWNER) -> Path:
    """A copy of a passport's folder that names another state file, signed."""
    shutil.copytree(folder, path)
    for stale in path.glob("state-*"):
        stale.unlink()
    digest = hashlib.sha256(data).hexdigest()
    (path / f"state-{digest[:16]}.safetensors").write_bytes(data)
    manifest = files.load_manifest(path).signed_by(owner, state=digest)
    (path / files.MANIFEST).write_bytes(manifest.to_json())
    return path


def raw_safetensors(tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """A safetensors file of any dtype, written by its format."""
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        end = len(body) + len(data)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), end]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def victim_labels(victim: Victim, x: Tensor) -> Tensor:
    """What the unmarked model itself answers: labels on which it is perfect."""
    model = models.resnet_small()
    model.load_state_dict(victim.unmarked)
    with torch.no_grad():
        return model.eval()(x).argmax(1)


def rescaled(victim: Victim, factor: float, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The same function: rows and means times a power of two, scales divided by it."""
    model = copy.deepcopy(victim.host).to(dtype)
    with torch.no_grad():
        for target in victim.passport.manifest.anchor.targets:
            norm: Any = model.get_submodule(target.norm)
            model.get_parameter(target.weight).mul_(factor)
            norm.running_mean.mul_(factor)
            # The variance stays: with the scale divided, (x − μ) γ is what it was, bit for bit.
            norm.weight.div_(factor)
    return model
