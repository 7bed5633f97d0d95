"""Reading a message from weights with the owner's key: it reports, it never verifies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from modeldeed.owner import Owner
from modeldeed.passport.evidence import files
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.evidence.message import Decoded, decode, symbols_of
from modeldeed.passport.evidence.reading import load_layers, masked_margins
from modeldeed.suspects import open_weights

__all__ = ["MessageReading", "read_message"]


class MessageReading(BaseModel):
    """What `read_message` found. It reports and never verifies: it has no verdict.

    Attributes:
        message: the message; None if none could be read.
        reason: in one sentence.
        committed: whether it is the one the anchor commits to; nothing else is ever shown.
        symbols: of its code.
        symbols_corrected: read wrong and put right; None without a message.
        bits: n.
        bits_flipped: of them, read against the message or unreadable; None without a message.
        suspect: as the caller named it.
        suspect_digest: SHA-256 of the file, or root of tensors in memory.
        anchor_digest: SHA-256 of the anchor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["modeldeed-message/v1"] = "modeldeed-message/v1"
    verifies: Literal[False] = False
    message: str | None
    reason: str
    committed: bool
    symbols: int = Field(ge=0)
    symbols_corrected: int | None = Field(ge=0)
    bits: int = Field(ge=0)
    bits_flipped: int | None = Field(ge=0)
    suspect: str
    suspect_digest: str
    anchor_digest: str


def read_message(
    suspect: str | Path | Mapping[str, Tensor] | nn.Module,
    *,
    passport: Manifest | str | Path,
    owner: Owner,
) -> MessageReading:
    """Read a message from a suspect's weights with the owner's key.

    The message in the passport's manifest is not looked at: what is returned stands in the
    weights, and opens the commitment in the anchor.

    Args:
        suspect: a safetensors file, a state dict or a module.
        passport: its folder, or the manifest.
        owner: whose passport it is.

    Returns:
        The reading; without a message if the weights hold none that this key can read.

    Raises:
        EvidenceError: the passport was altered, or the key cannot open it.
        SuspectError: the suspect cannot be read, or lacks tensors of the claim.
    """
    manifest = passport if isinstance(passport, Manifest) else files.load_manifest(Path(passport))
    anchor, rule = manifest.anchor, manifest.anchor.message
    weights = open_weights(suspect)
    bits = sum(target.bits for target in anchor.targets)
    found: Decoded | None = None
    if owner.identity != anchor.owner_identity():
        reason = "the key is not this passport's"
    elif rule is None:
        reason = "this passport was issued without a message"
    else:
        key, seed = manifest.model_key(owner), owner.seed(manifest.label)
        layers = load_layers(weights, anchor.targets)
        margins = masked_margins(layers, key, rows=anchor.passport_rule.rows)
        found = decode(key, margins, rule.size, lambda data: anchor.commits_to(data, seed))
        reason = "no message can be read from these weights"
        if found:
            reason = "the message the anchor commits to stands in these weights"
    return MessageReading(
        message=found.message.decode() if found else None,
        reason=reason,
        committed=found is not None,
        symbols=symbols_of(bits, rule.size) if rule else 0,
        symbols_corrected=found.corrected if found else None,
        bits=bits,
        bits_flipped=found.flipped if found else None,
        suspect=weights.label,
        suspect_digest=weights.digest(),
        anchor_digest=anchor.digest,
    )
