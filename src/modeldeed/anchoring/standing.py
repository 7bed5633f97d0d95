"""What an anchor is worth to one judge: if he does not trust its authority, nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

from modeldeed.anchor import Anchor
from modeldeed.errors import EvidenceError
from modeldeed.identity import Identity
from modeldeed.manifest import SignedManifest
from modeldeed.results import AnchorTime
from modeldeed.statistics import Budget
from modeldeed.timestamping import (
    Stamp,
    TrustedAuthority,
    UntrustedAuthority,
    check,
    effective,
)
from modeldeed.trust import Trust

__all__ = [
    "ANCHORED_GRINDING_LOG2",
    "UNANCHORED",
    "Standing",
    "Trusted",
    "named_by",
    "standing_of",
    "standing_of_claim",
]

logger = logging.getLogger(__name__)

ANCHORED_GRINDING_LOG2 = 20
"""log2 of the tries an anchored claim pays for: each of them costs a request to an authority."""

Trusted = Trust | Iterable[TrustedAuthority]
"""Whose timestamps a judge believes."""


@dataclass(frozen=True)
class Standing:
    """Whether a claim pays as an anchored one.

    Attributes:
        stamp: the anchor's token, verified by an authority the judge trusts; None otherwise.
        notes: what a reader must know about that.
    """

    stamp: Stamp | None = None
    notes: tuple[str, ...] = ()

    @property
    def anchored(self) -> bool:
        """Whether the anchor is dated, for this judge."""
        return self.stamp is not None

    def budget(self, unanchored: Budget) -> Budget:
        """What the claim has to pay.

        Args:
            unanchored: what it would pay without a timestamp.
        """
        if self.stamp is None:
            return unanchored
        grinding = min(unanchored.grinding_log2, ANCHORED_GRINDING_LOG2)
        return replace(unanchored, grinding_log2=grinding)

    def shown(self) -> AnchorTime | None:
        """The token's authority and interval for a report."""
        if self.stamp is None:
            return None
        authority = self.stamp.authority
        return AnchorTime(
            authority=authority.name,
            policy=authority.policy,
            root=authority.root,
            earliest=self.stamp.earliest,
            latest=self.stamp.latest,
        )


UNANCHORED = Standing()


def standing_of(manifest: SignedManifest, trust: Trusted | None) -> Standing:
    """What a manifest's anchor is worth.

    A token counts only if the authority the anchor names is among the judge's, by policy and root
    certificate: whoever made his own authority can ask it as often as he likes.

    Args:
        manifest: authenticated, so that its token is about its anchor.
        trust: the judge's authorities; None trusts none.

    Returns:
        Anchored if the token verifies; otherwise unanchored, with a note where there is a token.

    Raises:
        EvidenceError: the judge trusts the authority that the anchor names, and the token is not
            one of its own.
    """
    authority, token = manifest.anchor.authority, manifest.token_bytes()
    if authority is None or token is None:
        return UNANCHORED
    named = named_by(manifest.anchor, trust)
    if not named:
        note = (
            f"the anchor's timestamp does not count: its authority, {authority.name}, is not among "
            "those trusted here; the claim pays for 2^64 keys tried beforehand instead of 2^20"
        )
        logger.warning(note)
        return Standing(notes=(note,))
    try:
        stamp = check(token, bytes.fromhex(manifest.anchor.digest), named)
    except UntrustedAuthority as error:
        raise EvidenceError(
            f"the anchor names {authority.name}, and its token is not that authority's: {error}"
        ) from error
    return Standing(stamp)


def standing_of_claim(
    manifest: SignedManifest, identity: Identity, trust: Trusted | None
) -> Standing:
    """What the anchor of a claim without a deed is worth.

    Whoever stole a key can make anchors until it is revoked, and date them back by nothing but an
    authority. So the anchor of a revoked identity counts only if its own timestamp is older.

    Args:
        manifest: authenticated.
        identity: whose claim it is.
        trust: the judge's; only a trust file names revoked identities.

    Raises:
        EvidenceError: as of `standing_of`; or the identity was revoked before the anchor is proven
            to have existed.
    """
    standing = standing_of(manifest, trust)
    if isinstance(trust, Trust):
        stamps = () if standing.stamp is None else (standing.stamp,)
        revocation = trust.revocation(identity, effective(stamps))
        if revocation is not None:
            raise EvidenceError(revocation.problem("the anchor"))
    return standing


def _authorities(trust: Trusted | None) -> tuple[TrustedAuthority, ...]:
    """The authorities that a judge trusts."""
    if trust is None:
        return ()
    return trust.trusted if isinstance(trust, Trust) else tuple(trust)


def named_by(anchor: Anchor, trust: Trusted | None) -> tuple[TrustedAuthority, ...]:
    """Of the trusted authorities the one that an anchor names, by policy and root certificate.

    Its name does not count: everybody calls it as he likes.
    """
    wanted = anchor.authority
    if wanted is None:
        return ()
    return tuple(
        each
        for each in _authorities(trust)
        if (each.authority.policy, each.authority.root) == (wanted.policy, wanted.root)
    )
