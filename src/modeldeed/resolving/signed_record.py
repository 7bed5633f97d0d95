"""Step 20: a resolution signed by the judge, as a DSSE envelope with one Ed25519 signature.

The payload is JSON: the judge's public key, and the whole resolution with its digests, every p
before and after payment, and the digests of transcripts. What is verified are the payload's bytes,
before anything parses them; unlike evidence, they hold floats.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import EvidenceModel, Hex32
from modeldeed.identity import Identity
from modeldeed.owner import Owner
from modeldeed.resolving.results import STEPS, Resolution, Step, StepStatus

__all__ = ["PAYLOAD_TYPE", "SignedResolution", "read_signed", "sign_resolution"]

PAYLOAD_TYPE = "application/vnd.modeldeed.resolution+json"
_MAX_BYTES = 256 * 2**20


class SignedResolution(BaseModel):
    """What the judge signs.

    Attributes:
        format: version of the record.
        judge: public key of the judge, hexadecimal.
        resolution: what was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["modeldeed-signed-resolution/v1"] = "modeldeed-signed-resolution/v1"
    judge: Hex32
    resolution: Resolution


class _Signature(EvidenceModel):
    keyid: Hex32
    sig: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]


class _Form(EvidenceModel):
    payload: str
    payloadType: Literal["application/vnd.modeldeed.resolution+json"]  # noqa: N815 - the format's
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=1)]


def sign_resolution(resolution: Resolution, judge: Owner) -> tuple[Resolution, bytes]:
    """Sign a resolution.

    Args:
        resolution: of `modeldeed.resolve`.
        judge: whose key signs; any owner's secret is one.

    Returns:
        The resolution with its last step done, which is what is signed; and the envelope's file.
    """
    public_key = judge.identity.public_key
    last = Step(
        number=len(STEPS),
        title=STEPS[-1],
        status=StepStatus.DONE,
        note=f"signed by the judge's key {judge.identity.fingerprint[:16]}…",
    )
    steps = (*(step for step in resolution.steps if step.number < len(STEPS)), last)
    made = resolution.model_copy(update={"steps": steps})
    record = SignedResolution(judge=public_key.hex(), resolution=made)
    payload = record.model_dump_json().encode()
    form = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {
                "keyid": judge.identity.fingerprint,
                "sig": base64.b64encode(judge.sign(_encoded(payload))).decode(),
            }
        ],
    }
    return made, canonical_json(form)


def read_signed(data: bytes, judge: Identity | None = None) -> SignedResolution:
    """Verify a signed resolution, then parse it.

    Args:
        data: the envelope's file.
        judge: whose signature it must be; None takes the key inside, which says only that nobody
            changed it since.

    Raises:
        EvidenceError: it is too large, malformed, altered, or signed by another judge.
    """
    if len(data) > _MAX_BYTES:
        raise EvidenceError(f"a signed resolution has {len(data)} bytes, over {_MAX_BYTES}")
    try:
        form = _Form.model_validate_json(data)
        payload = base64.b64decode(form.payload, validate=True)
        signature = base64.b64decode(form.signatures[0].sig, validate=True)
    except (ValidationError, ValueError) as error:
        raise EvidenceError(f"this is no signed resolution: {_first(error)}") from error
    if canonical_json(form.model_dump(mode="json")) != data:
        raise EvidenceError("the signed resolution is not in canonical form: a byte was changed")
    signer = judge or _named(payload)
    if hashlib.sha256(signer.public_key).hexdigest() != form.signatures[0].keyid:
        raise EvidenceError("the resolution is signed by another judge")
    if not signer.verify(signature, _encoded(payload)):
        raise EvidenceError("the resolution was altered: the judge's signature does not fit")
    record = _parsed(payload)
    if record.judge != signer.public_key.hex():
        raise EvidenceError("the resolution names another judge than the one who signed it")
    return record


def _encoded(payload: bytes) -> bytes:
    """What is signed: the payload with its type, each behind its length (DSSE)."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _named(payload: bytes) -> Identity:
    """The judge's key at the fixed place where every record has it."""
    head = b'{"format":"modeldeed-signed-resolution/v1","judge":"'
    key = payload[len(head) : len(head) + 64]
    if not payload.startswith(head):
        raise EvidenceError("this is no signed resolution: it names no judge")
    try:
        return Identity(bytes.fromhex(key.decode()))
    except ValueError as error:
        raise EvidenceError(f"the judge's key in it cannot be read: {error}") from error


def _parsed(payload: bytes) -> SignedResolution:
    try:
        return SignedResolution.model_validate_json(payload)
    except ValidationError as error:
        raise EvidenceError(f"the signed resolution is malformed: {_first(error)}") from error


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors()[0]
        return f"{'.'.join(map(str, found['loc'])) or 'its top'}: {found['msg']}"
    return str(error)
