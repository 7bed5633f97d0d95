"""How an anchor names the authority whose timestamp counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modeldeed.evidence_model import EvidenceModel, Hex32, Name

__all__ = ["Authority", "Policy"]

# Object identifiers: the first number is at most 2, the second below 40 after 0 and 1.
_OID = r"^([01]\.[1-3]?[0-9]|2\.(0|[1-9][0-9]{0,37}))(\.(0|[1-9][0-9]{0,37})){1,20}$"

Policy = Annotated[str, Field(pattern=_OID, max_length=200)]


class Authority(EvidenceModel):
    """A timestamp authority, by what a third party can check of it.

    Attributes:
        name: what it is called in reports; nothing is checked against it.
        policy: the dotted object identifier of the policy that its tokens must name.
        root: SHA-256 of the DER of the root certificate its tokens must lead to, hexadecimal.

    Example:
        >>> Authority(name="Example TSA", policy="1.2.3.4.1", root="0" * 64).policy
        '1.2.3.4.1'
    """

    name: Name
    policy: Policy
    root: Hex32
