"""What a judge trusts: owners, authorities, and models known to be public.

The file is the judge's own, and no evidence: nothing in it comes from a claimant.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError, model_validator
from typing_extensions import Self

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.evidence_model import EvidenceModel, Hex32, Name
from modeldeed.identity import Identity
from modeldeed.storage import bounded_bytes
from modeldeed.strict_json import strict_json
from modeldeed.timestamping.authority import Policy
from modeldeed.timestamping.dating import Dating
from modeldeed.timestamping.trusted_authority import TrustedAuthority

__all__ = ["PinnedAuthority", "PublicBase", "Revocation", "Trust"]

_MAX_BYTES = 4 * 2**20


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError("lies outside of the calendar in UTC") from error


def _public_key(text: str) -> str:
    Identity(bytes.fromhex(text))
    return text


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
PublicKey = Annotated[Hex32, AfterValidator(_public_key)]


class Revocation(EvidenceModel):
    """Since when an identity's signature counts no more.

    Attributes:
        since: from this moment on; what is dated before it still counts.
        reason: shown in reports.
    """

    since: Moment
    reason: Name

    def problem(self, what: str) -> str:
        """What is wrong with a signature that falls under it, in one sentence.

        Args:
            what: was signed.
        """
        return (
            f"the identity was revoked at {self.since:%Y-%m-%d %H:%M:%S} UTC ({self.reason}), and "
            f"{what} is not proven to be older"
        )


class PinnedAuthority(EvidenceModel):
    """A timestamp authority in a trust file.

    Attributes:
        name: what it is called in reports and on the command line.
        policy: dotted identifier of the policy that its tokens name.
        url: where it takes requests; None if it is not asked from here.
        certificates: PEM text: exactly one root, and any intermediates.
    """

    name: Name
    policy: Policy
    url: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    certificates: Annotated[str, Field(min_length=1, max_length=2**18)]

    @model_validator(mode="after")
    def _readable(self) -> PinnedAuthority:
        self.trusted()
        return self

    def trusted(self) -> TrustedAuthority:
        """The authority with its certificates read.

        Raises:
            OptionError: they cannot be read, or hold not exactly one root.
        """
        return TrustedAuthority.from_pem(
            self.name, self.policy, self.certificates.encode(), self.url
        )


class PublicBase(EvidenceModel):
    """A model that everybody could have, as an earlier carrier of a mark.

    Attributes:
        name: shown in reports.
        path: its file or folder; a relative one starts at the trust file.
        since: when it is proven to have existed.
    """

    name: Name
    path: Annotated[str, Field(min_length=1, max_length=4000)]
    since: Moment


class Trust(EvidenceModel):
    """A judge's trust file, format ``modeldeed-trust/v1``.

    Attributes:
        owners: known identities: Ed25519 public key, hexadecimal, to name.
        revoked: identities whose signatures count only before a moment.
        authorities: timestamp authorities that count.
        public_bases: models to look for marks in before a claim is believed.

    Example:
        >>> Trust.empty().trusted
        ()
    """

    format: Literal["modeldeed-trust/v1"] = "modeldeed-trust/v1"
    owners: dict[PublicKey, Name] = Field(default_factory=dict)
    revoked: dict[PublicKey, Revocation] = Field(default_factory=dict)
    authorities: tuple[PinnedAuthority, ...] = ()
    public_bases: tuple[PublicBase, ...] = ()

    @model_validator(mode="after")
    def _once_each(self) -> Trust:
        names = [found.name for found in self.authorities]
        pinned = [(t.authority.policy, t.authority.root) for t in self.trusted]
        if len(set(names)) < len(names) or len(set(pinned)) < len(pinned):
            raise ValueError("an authority, by name or by policy and root, stands twice")
        return self

    @classmethod
    def empty(cls) -> Self:
        """Trust in nobody: every identity is unknown, every token of an unknown authority."""
        return cls()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a trust file; relative paths of public bases start in its folder.

        Raises:
            OptionError: it is missing, too large, malformed, of another version, or holds
                identities, certificates or addresses that cannot be used.
        """
        place = Path(path)
        try:
            data = bounded_bytes(place, _MAX_BYTES)
            found = strict_json(data)
        except EvidenceError as error:
            raise OptionError(f"trust file {place}: {error}") from error
        version = found.get("format") if isinstance(found, dict) else None
        if version != "modeldeed-trust/v1":
            raise OptionError(
                f"trust file {place}: its format is {version!r}; this version reads "
                "'modeldeed-trust/v1'"
            )
        try:
            trust = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "its top"
            raise OptionError(f"trust file {place}: at {where}: {first['msg']}") from error
        bases = tuple(
            base.model_copy(update={"path": str(place.parent / base.path)})
            for base in trust.public_bases
        )
        return trust.model_copy(update={"public_bases": bases})

    def to_json(self) -> bytes:
        """The file's content."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    @property
    def trusted(self) -> tuple[TrustedAuthority, ...]:
        """The authorities with their certificates, as `timestamping.check` takes them."""
        return tuple(found.trusted() for found in self.authorities)

    def authority(self, name: str) -> TrustedAuthority:
        """The authority of a name.

        Raises:
            OptionError: there is none.
        """
        for found in self.authorities:
            if found.name == name:
                return found.trusted()
        known = ", ".join(found.name for found in self.authorities) or "none"
        raise OptionError(f"the trust file has no authority {name!r}; it has: {known}")

    def owner_name(self, identity: Identity) -> str | None:
        """The name of a known identity; None for an unknown one."""
        return self.owners.get(identity.public_key.hex())

    def revocation(self, identity: Identity, dating: Dating | None = None) -> Revocation | None:
        """The revocation that an identity's signature falls under; None if it counts.

        Args:
            identity: who signed.
            dating: when the signature existed. One that is undated, or not wholly before the
                revocation, falls under it: whoever has the key could have made it since.
        """
        found = self.revoked.get(identity.public_key.hex())
        if found is None:
            return None
        early = dating is not None and dating.latest is not None and dating.latest < found.since
        return None if early else found
