"""Write the committed inputs anew: one good file of each kind, small, from fixed keys.

Run it after a change of a format: ``python -m tests.fuzz.make_corpus``.
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import torch
from safetensors.torch import save, save_file
from torch import nn

from modeldeed import Passport
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.deed import Deed
from modeldeed.owner import Owner
from modeldeed.timestamping import request
from modeldeed.timestamping.tokens import token_of
from modeldeed.trust import PinnedAuthority, Trust
from tests.fuzz.targets import CORPUS
from tests.timestamping.authorities import LocalAuthority, make_authority

AT = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
EXAMPLE = torch.zeros(2, 64)


def write(target: str, name: str, data: bytes) -> None:
    """Write one input."""
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(data)


def marks(owner: Owner, authority: LocalAuthority, folder: Path) -> None:
    """Deeds, statements, openings and manifests, with triggers and without."""
    for name, options in (("plain", {}), ("triggers", {"triggers": True})):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 16), nn.LayerNorm(16))
        anchoring: Anchoring = Passport.anchor(
            model, owner, example=EXAMPLE, classes=("a", "b"), authority=authority.trusted,
            **options,
        )  # fmt: skip
        response = authority.stamp(anchoring.request(), AT)
        anchoring.accept(response)
        passport = Passport.issue(model, owner, example=EXAMPLE, anchor=anchoring)
        save_file(model.state_dict(), folder / "model.safetensors")
        deed = Deed.create(
            folder / "model.safetensors", owner=owner, marks=[passport], second_digest="sha512"
        )
        consent = deed.license(owner, Owner(bytes(32)).identity, "MIT")
        derived = Deed.create(
            folder / "model.safetensors", owner=Owner(bytes(32)), second_digest="sha512",
            marks=[Passport.issue(model, Owner(bytes(32)), example=EXAMPLE)],
            derived_from=[(deed, consent)],
        )  # fmt: skip
        for kind, each in ((name, deed), (f"derived-{name}", derived)):
            write("envelope", f"{kind}.json", each.envelope.to_bytes())
            write("statement", f"{kind}.json", each.envelope.payload)
        batches = {} if name == "plain" else {"batches": [0]}
        opening = deed.open(owner, "0" * 64, "5a" * 16, **batches)
        write("opening", f"{name}.json", opening.to_json())
        write("countersignature", f"{name}.json", consent.to_json())
        write("manifest", f"{name}.json", passport.manifest.signed(owner).to_json())
        write("manifest", f"anchor-{name}.json", anchoring.record.to_json())
        write("request", f"{name}.tsq", anchoring.request())


def main() -> None:
    """Write all of them."""
    owner = Owner(bytes(range(32)), "Acme Vision")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        authority = make_authority(folder, "Authority")
        marks(owner, authority, folder)
        imprint = bytes(range(32))
        now = authority.stamp(request(imprint, nonce=7))
        write("token", "openssl.tsr", now)
        write("token", "openssl.der", token_of(now))
        write("token", "minimal.der", authority.token_at(imprint, AT))
        write("request", "bare.tsq", request(imprint, policy="1.2.3.4.1", nonce=7))
        pinned = PinnedAuthority(
            name="Authority", policy=authority.policy,
            certificates=authority.trusted.to_pem().decode(), url="https://tsa.example",
        )  # fmt: skip
        known = {owner.identity.public_key.hex(): "Acme"}
        write("trust", "authority.json", Trust(authorities=(pinned,), owners=known).to_json())
    write("trust", "empty.json", Trust.empty().to_json())
    tensors = {"a": torch.ones(2), "b": torch.zeros(1, 3, dtype=torch.int8), "c": torch.ones(())}
    write("safetensors", "three.safetensors", save(tensors, metadata={"format": "pt"}))
    write("safetensors", "empty.safetensors", save({}))
    names = dict.fromkeys(tensors, "a.safetensors")
    write("index", "one.json", json.dumps({"metadata": {}, "weight_map": names}).encode())


if __name__ == "__main__":
    main()
