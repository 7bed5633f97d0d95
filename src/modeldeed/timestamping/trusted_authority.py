"""An authority that a judge trusts, with the certificates to check its tokens by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from modeldeed.errors import OptionError
from modeldeed.timestamping.authority import Authority
from modeldeed.timestamping.certificates import ODDITIES, reading_certificates

__all__ = ["TrustedAuthority"]

_MAX_PEM_BYTES = 256 * 2**10


@dataclass(frozen=True)
class TrustedAuthority:
    """An authority whose tokens a judge believes.

    Attributes:
        authority: name, policy and root's digest, as anchors name it.
        root: the pinned root certificate.
        intermediates: certificates between the root and the signer that tokens may leave out.
        url: where it takes requests; None if it is not asked from here.
    """

    authority: Authority
    root: x509.Certificate
    intermediates: tuple[x509.Certificate, ...] = ()
    url: str | None = None

    @classmethod
    def from_pem(
        cls, name: str, policy: str, pem_bytes: bytes, url: str | None = None
    ) -> TrustedAuthority:
        """Pin an authority by its certificates.

        Args:
            name: what it is called in reports.
            policy: dotted identifier of the policy that its tokens name.
            pem_bytes: certificates in PEM: exactly one root, issued by itself, and any number of
                intermediates.
            url: where it takes requests.

        Raises:
            OptionError: the name or policy is malformed, the PEM holds no certificate that can be
                read, or not exactly one root.
        """
        try:
            certificates = _certificates(pem_bytes)
        except ODDITIES as error:
            raise OptionError(
                f"authority {name!r}: its certificates are no PEM that can be used: {error}"
            ) from error
        roots = [found for found in certificates if _is_root(found)]
        if len(roots) != 1:
            raise OptionError(
                f"authority {name!r}: its PEM must hold exactly one root certificate, issued by "
                f"itself, got {len(roots)}; list an authority with two roots twice"
            )
        digest = hashlib.sha256(roots[0].public_bytes(Encoding.DER)).hexdigest()
        try:
            authority = Authority(name=name, policy=policy, root=digest)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise OptionError(f"authority {name!r}: its {where}: {first['msg']}") from error
        between = tuple(found for found in certificates if found is not roots[0])
        return cls(authority, roots[0], between, url)

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The root in a tuple."""
        return (self.root,)

    def to_pem(self) -> bytes:
        """The certificates as `from_pem` takes them."""
        return b"".join(
            found.public_bytes(Encoding.PEM) for found in (self.root, *self.intermediates)
        )


def _certificates(pem_bytes: bytes) -> list[x509.Certificate]:
    if len(pem_bytes) > _MAX_PEM_BYTES:
        raise ValueError(f"{len(pem_bytes)} bytes, over {_MAX_PEM_BYTES}")
    with reading_certificates("the pinned certificates"):
        return x509.load_pem_x509_certificates(pem_bytes)


def _is_root(certificate: x509.Certificate) -> bool:
    # By name, not by signature: old roots have algorithms that cryptography no longer verifies,
    # and OpenSSL would take such a certificate among the intermediates for a root too.
    return certificate.subject == certificate.issuer
