"""Parties to a dispute, made in closed form: no training, and every bit is read from weights.

A host has 192 bits in three layers. `planted` writes a passport's bits by adding to every row a
multiple of its own passport row, which is what training would lean it to; nothing else is needed,
since the direct reading looks at weights alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modeldeed.claimant import Claimant
from modeldeed.deed import Deed, DerivedFrom
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner
from modeldeed.passport import Passport
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.signature import layer_secrets
from modeldeed.resolving import resolve, suspect_digest
from modeldeed.resolving.results import Resolution
from modeldeed.trust import PinnedAuthority, Trust
from tests.timestamping.authorities import LocalAuthority

UTC = timezone.utc
NONCE = "5a" * 32
DAY = datetime(2025, 3, 1, 12, tzinfo=UTC)
State = dict[str, Tensor]


def days(count: float) -> datetime:
    """A moment so many days after the day on which everything begins."""
    return DAY + timedelta(days=count)


def host(seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for inputs in (3, 64, 64):
            layers += [nn.Conv2d(inputs, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4))


def owner(number: int) -> Owner:
    return Owner(bytes([number]) * 32, f"owner {number}")


def state_of(model: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def issued(state: State, claimant: Owner, *, label: str = "model") -> Manifest:
    """The manifest of a passport for a model with these weights."""
    model = host(0)
    model.load_state_dict(state)
    return Passport.issue(
        model, claimant, example=torch.zeros(2, 3, 10, 10), label=label
    ).manifest.signed(claimant)


def anchored(manifest: Manifest, claimant: Owner, by: LocalAuthority, at: datetime) -> Manifest:
    """The same passport with an authority in its anchor, and its token; all bits are others."""
    anchor = manifest.anchor.model_copy(update={"authority": by.trusted.authority})
    token = by.token_at(bytes.fromhex(anchor.digest), at)
    return manifest.model_copy(update={"anchor": anchor}).with_token(token).signed(claimant)


def planted(
    state: State, manifest: SignedManifest, claimant: Claimant, margin: float = 6.0
) -> State:
    """The weights with a passport's bits in them."""
    key, made = manifest.model_key(claimant), dict(state)
    for ordinal, target in enumerate(manifest.anchor.targets):
        secrets = layer_secrets(key, ordinal, target)
        weight, passport = made[target.weight], secrets.passports[0].float()
        assert target.axis == 0
        rows, signs = weight.flatten(1), passport.flatten(1)
        short = margin * rows.norm(dim=1) - (secrets.bits * (rows * signs).sum(1))
        step = secrets.bits * short.clamp_min(0) / target.fan
        made[target.weight] = (rows + step[:, None] * signs).reshape(weight.shape)
    return made


@dataclass
class Party:
    """A claimant with a marked model and its deed.

    Attributes:
        name: of the folder.
        owner: whose claim it is.
        state: the reference.
        manifest: of the passport.
        deed: with its timestamps.
        unmarked: shown as the anchor's exhibit, if any.
        consents: licences that lie beside the deed.
    """

    name: str
    owner: Owner
    state: State
    manifest: SignedManifest
    deed: Deed
    unmarked: State | None = None
    consents: list[Any] = field(default_factory=list)

    def hand_in(
        self,
        folder: Path,
        suspect: Any,
        nonce: str = NONCE,
        name: str | None = None,
        **options: Any,
    ) -> Path:
        """Write the claim for one suspect."""
        place = folder / (name or self.name)
        place.mkdir(parents=True)
        self.deed.save(place)
        save_file(self.state, place / "reference.safetensors")
        opening = self.deed.open(
            self.owner, suspect_digest(suspect), nonce, marks=[self.manifest], **options
        )
        (place / "opening.json").write_bytes(opening.to_json())
        if self.unmarked is not None:
            save_file(self.unmarked, place / "unmarked.safetensors")
        for number, consent in enumerate(self.consents):
            (place / "countersignatures").mkdir(exist_ok=True)
            (place / "countersignatures" / f"{number}.json").write_bytes(consent.to_json())
        return place


def party(
    folder: Path,
    name: str,
    claimant: Owner,
    state: State,
    manifest: SignedManifest,
    dates: Sequence[tuple[LocalAuthority, datetime]] = (),
    **options: Any,
) -> Party:
    """Make the deed of a marked model, dated by authorities."""
    path = folder / f"{name}.safetensors"
    save_file(state, path)
    deed = Deed.create(path, owner=claimant, marks=[manifest], **options)
    for authority, at in dates:
        deed.accept(authority.token_at(deed.imprint, at))
    return Party(name, claimant, state, manifest, deed)


def redated(of: Party, dates: Sequence[tuple[LocalAuthority, datetime]]) -> Party:
    """The same claim with other timestamps."""
    tokens = [authority.token_at(of.deed.imprint, at) for authority, at in dates]
    deed = Deed(of.deed.envelope, tokens)
    return Party(of.name, of.owner, of.state, of.manifest, deed, of.unmarked, of.consents)


def derived(from_: Party) -> DerivedFrom:
    return DerivedFrom(tensor_root=from_.deed.statement.tensor_root, deed=from_.deed.digest)


def trusting(*authorities: LocalAuthority, **fields: Any) -> Trust:
    pinned = tuple(
        PinnedAuthority(
            name=authority.trusted.authority.name,
            policy=authority.policy,
            certificates=authority.trusted.to_pem().decode(),
        )
        for authority in authorities
    )
    return Trust(authorities=pinned, **fields)


def dispute(
    folder: Path, parties: Sequence[Party], suspect: Any, trust: Trust, **options: Any
) -> Resolution:
    """Hand everything in for a suspect and resolve it."""
    claims = [each.hand_in(folder, suspect) for each in parties]
    return resolve(claims, suspect, trust=trust, nonce=NONCE, **options)


def saved(state: State, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path


def copied(claim: Path, to: Path) -> Path:
    shutil.copytree(claim, to)
    return to


def loaded(path: Path) -> State:
    return load_file(path)
