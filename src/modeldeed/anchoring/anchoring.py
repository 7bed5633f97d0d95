"""Anchoring: fix everything, have it dated, and only then let the key exist."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from modeldeed.anchor import Anchor
from modeldeed.anchor.tokens import signed_time_of
from modeldeed.anchoring import files
from modeldeed.anchoring.answers import answer_to
from modeldeed.anchoring.record import AnchorRecord
from modeldeed.anchoring.standing import Trusted, named_by
from modeldeed.anchoring.weights import require_weights, save_exhibit
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.owner import Owner
from modeldeed.timestamping import Stamp, TrustedAuthority, check, request

__all__ = ["Anchoring"]


class Anchoring:
    """An anchor on its way to a timestamp.

    Made by `Passport.anchor`, `TriggerSet.anchor` or `Plugin.anchor`. `request` goes to the
    authority that the anchor names, by any way at all; `accept` takes its answer; then the mark is
    issued from this, with the key that follows from the answer.

    Attributes:
        record: what was fixed, signed by the owner.
        token: DER of the timestamp token; None before it is there.
        factors: of a coloured reading; None without one.

    Example:
        >>> import torch
        >>> from modeldeed import Passport
        >>> from modeldeed.timestamping import Authority
        >>> host = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16))
        >>> authority = Authority(name="Example TSA", policy="1.2.3.4.1", root="0" * 64)
        >>> anchoring = Passport.anchor(host, Owner.generate(), example=torch.rand(2, 1, 8, 8),
        ...                             authority=authority)
        >>> anchoring.ready, len(anchoring.request())
        (False, 75)
    """

    def __init__(
        self,
        record: AnchorRecord,
        factors: dict[int, Tensor] | None = None,
        query: bytes | None = None,
        token: bytes | None = None,
    ) -> None:
        self.record = record
        self.factors = factors
        self.token = token
        self._query = query

    @classmethod
    def of(
        cls,
        owner: Owner,
        anchor: Anchor,
        label: str,
        *,
        message: str | None = None,
        factors: dict[int, Tensor] | None = None,
    ) -> Anchoring:
        """Begin with an anchor."""
        record = AnchorRecord(anchor=anchor, label=label, message=message).signed(owner)
        return cls(record, factors)

    @property
    def anchor(self) -> Anchor:
        """What was fixed."""
        return self.record.anchor

    @property
    def label(self) -> str:
        """The owner's name for the model."""
        return self.record.label

    @property
    def ready(self) -> bool:
        """Whether a mark can be issued: the token is there, or none is wanted."""
        return self.anchor.authority is None or self.token is not None

    def request(self) -> bytes:
        """The request for the authority, DER; the same each time.

        Raises:
            OptionError: the anchor names no authority.
        """
        if self.anchor.authority is None:
            raise OptionError("this anchor names no authority to ask; make one with authority=...")
        if self._query is None:
            self._query = request(
                bytes.fromhex(self.anchor.digest), policy=self.anchor.authority.policy
            )
        return self._query

    def accept(
        self, response: bytes, trusted: Trusted | TrustedAuthority | None = None
    ) -> Stamp | None:
        """Take the authority's answer.

        Args:
            response: a TimeStampResp or a bare TimeStampToken, DER.
            trusted: verify it against these; None looks only at what it is about, and whether it
                is whole. A judge will verify it, and it cannot be replaced later.

        Returns:
            The verified timestamp; None if it was not verified.

        Raises:
            EvidenceError: it is malformed, not granted, over another anchor, of another policy,
                answers another request, or is not of the authority that the anchor names.
            OptionError: there is a token already, or the anchor names no authority.
        """
        token = answer_to(self.request(), response, self.anchor)
        signed = signed_time_of(token, self.anchor)
        if self.token is not None and signed_time_of(self.token, self.anchor) != signed:
            raise OptionError(
                "this anchor has its token already, and the key follows from that; make a new "
                "anchor for another one"
            )
        stamp = None if trusted is None else self._verified(token, trusted)
        self.token = token
        return stamp

    def _verified(self, token: bytes, trusted: Trusted | TrustedAuthority) -> Stamp:
        known = (trusted,) if isinstance(trusted, TrustedAuthority) else trusted
        named = named_by(self.anchor, known)
        return check(token, bytes.fromhex(self.anchor.digest), named, request=self.request())

    def token_text(self) -> str | None:
        """The token for a manifest, base64; None where none is wanted.

        Raises:
            EvidenceError: one is wanted and not there yet.
        """
        if self.token is not None:
            return base64.b64encode(self.token).decode()
        if self.anchor.authority is not None:
            raise EvidenceError(
                f"not anchored yet: send the request to {self.anchor.authority.name}, and accept "
                "its answer before anything is issued"
            )
        return None

    def require_owner(self, owner: Owner) -> None:
        """Refuse to issue for somebody else.

        Raises:
            EvidenceError: the anchor is another identity's, or of another label.
        """
        if owner.identity != self.anchor.owner_identity():
            raise EvidenceError("this anchor was made by another owner")
        if not self.anchor.opens(owner.seed(self.label)):
            raise EvidenceError("this anchor commits to another seed than its label's")

    def require_left_alone(self, given: Iterable[str]) -> None:
        """Refuse options that the anchor has fixed already.

        Raises:
            OptionError: there are some.
        """
        names = ", ".join(f"{name}=..." for name in given)
        if names:
            raise OptionError(f"{names}: fixed in the anchor already; leave it out, or anchor anew")

    def save(self, folder: str | Path, model: nn.Module | None = None) -> None:
        """Write it to a folder: the record, the request, the answer if it is there.

        Args:
            folder: made when missing.
            model: the unmarked model; its weights are kept beside, as the exhibit that a judge
                may ask for. Without them an anchor of random weights is worth little.

        Raises:
            OptionError: the model is not the one the anchor commits to.
        """
        place = Path(folder)
        if model is not None:
            require_weights(model, self.anchor)
        query = None if self.anchor.authority is None else self.request()
        files.save(place, self.record, self.factors, query, self.token)
        if model is not None:
            save_exhibit(place, model, self.anchor)

    @classmethod
    def load(cls, folder: str | Path) -> Anchoring:
        """Open a saved anchor.

        Raises:
            OptionError: the folder holds none.
            EvidenceError: it was altered.
        """
        return cls(*files.load(Path(folder)))

    def __repr__(self) -> str:
        word = "ready" if self.ready else "waiting for its token"
        return f"Anchoring({self.label!r}, {self.anchor.digest[:16]}, {word})"
