"""Real local timestamp authorities: a root, a signer and `openssl ts`.

`openssl ts` stamps with the clock of this machine. At a chosen time (`at`), the token is built by
`cms` under the same key and certificate; tests/timestamping/test_authorities.py has openssl verify
both kinds.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modeldeed.timestamping import TrustedAuthority
from modeldeed.timestamping.query import Query
from tests.timestamping.cms import Signing, info_der, response_der, signer_info, token_der

UTC = timezone.utc
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

CONFIG = """
[tsa]
default_tsa = local
[local]
serial = {folder}/serial
signer_cert = {folder}/signer.pem
signer_key = {folder}/signer.key
certs = {folder}/chain.pem
signer_digest = sha256
digests = sha256
default_policy = {policy}
{accuracy}
ess_cert_id_alg = sha256
ess_cert_id_chain = no
"""


@dataclass(frozen=True)
class LocalAuthority:
    """An authority of this machine.

    Attributes:
        trusted: what a judge pins of it.
        signing: key and certificate of its signer.
        root: key and certificate of its root.
        folder: its files for `openssl ts`: root.pem, chain.pem, signer.pem, signer.key, tsa.cnf.
        accuracy: what it states; None for nothing.
        at: when it stamps; None for now.
    """

    trusted: TrustedAuthority
    signing: Signing
    root: Signing
    folder: Path
    accuracy: timedelta | None
    at: datetime | None

    @property
    def policy(self) -> str:
        return self.trusted.authority.policy

    def stamp(self, request_der: bytes, at: datetime | None = None) -> bytes:
        """Answer a request with a TimeStampResp; at a chosen time, or now by `openssl ts`."""
        when = at or self.at
        return self._stamp_now(request_der) if when is None else self._stamp_at(request_der, when)

    def token_at(self, imprint: bytes, at: datetime, nonce: int | None = None) -> bytes:
        """A bare token over an imprint."""
        info = info_der(imprint, self.policy, at, accuracy=self.accuracy, nonce=nonce)
        return token_der(info, [signer_info(info, self.signing)], [self.signing.certificate])

    def _stamp_at(self, request_der: bytes, at: datetime) -> bytes:
        query = Query.from_der(request_der)
        return response_der(self.token_at(query.imprint, at, query.nonce))

    def _stamp_now(self, request_der: bytes) -> bytes:
        query, answer = self.folder / "request.tsq", self.folder / "answer.tsr"
        query.write_bytes(request_der)
        openssl(
            "ts", "-reply", "-config", self.folder / "tsa.cnf", "-section", "local",
            "-queryfile", query, "-out", answer,
        )  # fmt: skip
        return answer.read_bytes()


def openssl(*arguments: str | Path, check: bool = True) -> str:
    """Run openssl; return all that it says."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def issue(
    name: str,
    *,
    by: Signing | None = None,
    valid: tuple[datetime, datetime] = ALWAYS,
    eku: str = "critical",
) -> Signing:
    """Make a key and its certificate.

    Args:
        name: common name.
        by: who signs it; None for itself.
        valid: from and to.
        eku: "ca" for a certificate that signs others; otherwise the purpose of a signer:
            "critical", "plain" (not critical), "missing", "server" (another purpose), "both".
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ca = eku == "ca"
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(ca), critical=True)
    )
    if by is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    purposes = {
        "critical": [ExtendedKeyUsageOID.TIME_STAMPING],
        "plain": [ExtendedKeyUsageOID.TIME_STAMPING],
        "server": [ExtendedKeyUsageOID.SERVER_AUTH],
        "both": [ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH],
    }.get(eku)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=eku != "plain")
    return Signing(key, builder.sign((by.key if by else key), hashes.SHA256()))


def _key_usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def make_authority(
    tmp_path: Path,
    name: str,
    *,
    policy: str = "1.2.3.4.1",
    valid: tuple[datetime, datetime] = ALWAYS,
    root_valid: tuple[datetime, datetime] = ALWAYS,
    accuracy: timedelta | None = timedelta(seconds=1),
    at: datetime | None = None,
    eku: str = "critical",
    url: str | None = None,
) -> LocalAuthority:
    """Make an authority with a root, a signer and the files of `openssl ts`.

    Args:
        tmp_path: its folder is made in here.
        name: its name; also of the folder, which must not exist.
        policy: dotted identifier.
        valid: of the signer's certificate.
        root_valid: of the root's.
        accuracy: what it states; None for nothing.
        at: when it always stamps; None for now, by `openssl ts`.
        eku: purpose of the signer's certificate, as of `issue`; `openssl ts` takes "critical" only.
        url: what the trust file says.
    """
    folder = tmp_path / name.replace(" ", "-")
    folder.mkdir(parents=True)
    root = issue(f"{name} root", valid=root_valid, eku="ca")
    signing = issue(f"{name} signer", by=root, valid=valid, eku=eku)
    pem = root.certificate.public_bytes(Encoding.PEM)
    (folder / "root.pem").write_bytes(pem)
    (folder / "chain.pem").write_bytes(pem)
    (folder / "signer.pem").write_bytes(signing.certificate.public_bytes(Encoding.PEM))
    (folder / "signer.key").write_bytes(
        signing.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    stated = "" if accuracy is None else _stated(accuracy)
    (folder / "serial").write_text("01\n", encoding="ascii")
    (folder / "tsa.cnf").write_text(
        CONFIG.format(folder=folder, policy=policy, accuracy=stated), encoding="utf-8"
    )
    trusted = TrustedAuthority.from_pem(name, policy, pem, url)
    return LocalAuthority(trusted, signing, root, folder, accuracy, at)


def _stated(accuracy: timedelta) -> str:
    seconds, micros = int(accuracy.total_seconds()), accuracy.microseconds
    return f"accuracy = secs:{seconds}, millisecs:{micros // 1000}, microsecs:{micros % 1000}"
