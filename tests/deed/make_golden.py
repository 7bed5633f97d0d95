"""Write the golden files of version 1 anew; done once, for a format that is not released yet.

    python -m tests.deed.make_golden

A released version's files are never written again: every later reader has to read them.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import nn

from modeldeed import Deed, Owner, Passport
from modeldeed.deed.files import save_opening
from modeldeed.suspects import open_weights
from modeldeed.trust import PinnedAuthority, Trust
from tests.timestamping.authorities import make_authority

FOLDER = Path(__file__).parent / "golden"
OWNER = Owner(bytes(range(32)), "Acme Vision")
NONCE = "5a" * 16
NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def main() -> None:
    """Write model, passport, deed with two timestamps, trust file, and two openings."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 144, 3, bias=False), nn.BatchNorm2d(144))
    passport = Passport.issue(
        model, OWNER, example=torch.rand(2, 1, 8, 8), label="golden", classes=10, triggers=True
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    save_file(model.state_dict(), FOLDER / "model.safetensors")
    passport.save(FOLDER / "passport")
    deed = Deed.create(
        FOLDER / "model.safetensors",
        owner=OWNER,
        marks=[FOLDER / "passport"],
        second_digest="sha512",
    )
    with TemporaryDirectory() as folder:
        authorities = [make_authority(Path(folder), name, at=NOON) for name in ("one", "two")]
        for authority in authorities:
            deed.accept(authority.stamp(deed.request()))
    deed.save(FOLDER / "model.deed")
    pinned = tuple(
        PinnedAuthority(
            name=a.trusted.authority.name,
            policy=a.policy,
            certificates=a.trusted.to_pem().decode(),
        )
        for a in authorities
    )
    key = OWNER.identity.public_key.hex()
    trust = Trust(authorities=pinned, owners={key: "Acme Vision"})
    (FOLDER / "trust.json").write_bytes(trust.to_json())
    digest = open_weights(FOLDER / "model.safetensors").digest()
    save_opening(FOLDER / "opening.json", deed.open(OWNER, digest, NONCE))
    save_opening(FOLDER / "batch-opening.json", deed.open(OWNER, digest, NONCE, batches=[0]))
    expected = {"imprint": deed.digest, "tensor_root": deed.statement.tensor_root}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
