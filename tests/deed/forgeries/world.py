"""A deed with everything around it, and the pen of a forger who knows the format.

The owner's deed is about a model of 672 bits, all of them written, and of a set of triggers; its
anchor and the deed itself are dated by two authorities. A forger has a key of his own, can sign
whatever he likes with it, and can ask the authorities for timestamps.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from modeldeed import Passport
from modeldeed.deed import Deed, Opening
from modeldeed.deed.envelope import PAYLOAD_TYPE, pre_authentication
from modeldeed.deed.hashing import digest_model
from modeldeed.digests import canonical_json
from modeldeed.owner import Owner
from modeldeed.streams import KeyStream
from modeldeed.suspects import open_weights
from modeldeed.trust import PinnedAuthority, Trust
from tests.timestamping.authorities import LocalAuthority

NONCE, OTHER_NONCE = "5a" * 16, "a5" * 16
ANCHORED = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
DATED = ANCHORED + timedelta(days=30)
BITS, FAN = 672, 64
CLASSES = tuple("abcdefghij")
EXAMPLE = torch.zeros(2, FAN)


def host(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FAN, BITS), nn.LayerNorm(BITS))


@dataclass(frozen=True)
class Registered:
    """A model with its passport, its file and its dated deed."""

    owner: Owner
    passport: Passport
    file: Path
    deed: Deed

    @property
    def suspect(self) -> str:
        """The digest of the model's file, which is the suspect too."""
        return open_weights(self.file).digest()

    def opening(self, *, suspect: str | None = None, nonce: str = NONCE, **options: Any) -> Opening:
        return self.deed.open(
            self.owner, suspect or self.suspect, nonce, marks=[self.passport], **options
        )


@dataclass(frozen=True)
class World:
    """The owner's deed, the forger, the authorities, and the judge's trust file."""

    folder: Path
    real: Registered
    forger: Owner
    authorities: tuple[LocalAuthority, LocalAuthority]
    trust: Trust

    def forged(self, change: Callable[[dict[str, Any]], None], *, by: Owner | None = None) -> bytes:
        """The deed's file after a change of its statement, signed anew.

        Args:
            change: edits the parsed statement.
            by: who signs; None for the owner himself. The statement names his key.
        """
        statement = json.loads(self.real.deed.envelope.payload)
        signer = by or self.real.owner
        statement["predicate"]["identity"] = signer.identity.public_key.hex()
        change(statement)
        return sealed(canonical_json(statement), signer)


def sealed(payload: bytes, owner: Owner, **changes: Any) -> bytes:
    """An envelope's file around any bytes, with a signature that fits."""
    form = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {
                "keyid": owner.identity.fingerprint,
                "sig": base64.b64encode(owner.sign(pre_authentication(payload))).decode(),
            }
        ],
    }
    return canonical_json(form | changes)


def mark(model: nn.Sequential, passport: Passport, owner: Owner) -> None:
    """Write weights of which every bit reads as claimed."""
    key = passport.manifest.model_key(owner)
    rows = KeyStream(key, "passport", 0, "gamma").signs(BITS * FAN).reshape(BITS, FAN)
    bits = KeyStream(key, "bits", 0).signs(BITS)
    with torch.no_grad():  # of several sizes, so that wrong keys do not read mere zeros
        model[0].weight.copy_(rows * bits[:, None] * (0.5 + model[0].weight.abs()))


def register(
    owner: Owner,
    folder: Path,
    authorities: tuple[LocalAuthority, ...],
    *,
    seed: int = 0,
    dated: datetime = DATED,
    **options: Any,
) -> Registered:
    """Anchor, mark, ship and register a model as its owner would."""
    folder.mkdir(parents=True)
    model, first = host(seed), authorities[0]
    anchoring = Passport.anchor(
        model, owner, example=EXAMPLE, authority=first.trusted, classes=CLASSES, **options
    )
    anchoring.accept(first.stamp(anchoring.request(), dated - (DATED - ANCHORED)))
    passport = Passport.issue(model, owner, example=EXAMPLE, anchor=anchoring)
    mark(model, passport, owner)
    file = folder / "model.safetensors"
    save_file(model.state_dict(), file)
    deed = Deed.create(file, owner=owner, marks=[passport])
    for authority in authorities:
        deed.accept(authority.stamp(deed.request(), dated))
    return Registered(owner, passport, file, deed)


def trust_in(*authorities: LocalAuthority, **fields: Any) -> Trust:
    """A trust file of these authorities."""
    pinned = tuple(
        PinnedAuthority(
            name=each.trusted.authority.name,
            policy=each.policy,
            certificates=each.trusted.to_pem().decode(),
        )
        for each in authorities
    )
    return Trust(authorities=pinned, **fields)


def resigned(opening: Opening, owner: Owner, **changes: Any) -> Opening:
    """An opening with other fields, signed by whoever it then names."""
    return opening.model_copy(update=changes).signed(owner)


def tensor_root(file: Path) -> str:
    """The tensor root of a model's file."""
    return digest_model(file).tensor_root
