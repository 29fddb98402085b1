"""Certificates for a network that uses TLS: an authority, certificates of nodes, certificates of callers.

    python tools/make_certs.py ca --out certs
    python tools/make_certs.py server alpha --out certs --name alpha.example.org --ip 10.0.0.7
    python tools/make_certs.py client wallet --out certs

Writes NAME.pem and NAME.key into the folder. Keys are P-256 (gRPC takes neither secp256k1 nor Ed25519), readable by
their owner only, and never overwritten. A server's certificate serves for its calls to others too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY = "ca"
"""Name of the authority's files."""
BACKDATED = timedelta(minutes=5)
"""So that a machine whose clock is a little late takes a new certificate."""


class CertificateError(Exception):
    """What keeps a certificate from being made; the message is for people."""


def make_authority(folder: Path, days: int, now: datetime) -> Path:
    """An authority that signs the others: ca.pem and ca.key. Raises CertificateError."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("FedCoin network authority")
    builder = (
        _builder(name, name, key, days, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return _write(folder, AUTHORITY, key, builder.sign(key, hashes.SHA256()))


def make_server(folder: Path, name: str, hosts: Sequence[str], days: int, now: datetime) -> Path:
    """A node that listens under `hosts`: names, or IP addresses. Raises CertificateError."""
    if not hosts:
        raise CertificateError("a server needs a --name or --ip by which others call it")
    alternatives = x509.SubjectAlternativeName([_host(host) for host in hosts])
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _make(folder, name, uses, alternatives, days, now)


def make_client(folder: Path, name: str, days: int, now: datetime) -> Path:
    """A caller that does not listen: a wallet, a requester. Raises CertificateError."""
    return _make(folder, name, [ExtendedKeyUsageOID.CLIENT_AUTH], None, days, now)


def _make(
    folder: Path,
    name: str,
    uses: list[x509.ObjectIdentifier],
    alternatives: x509.SubjectAlternativeName | None,
    days: int,
    now: datetime,
) -> Path:
    if name == AUTHORITY or not name or Path(name).name != name:
        raise CertificateError(f"{name!r} cannot be a file name here: choose another")
    authority, authority_key = _authority(folder)
    if now + timedelta(days=days) > authority.not_valid_after_utc:
        raise CertificateError(
            f"the authority itself is valid until {authority.not_valid_after_utc:%Y-%m-%d} only: give fewer --days"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(name), authority.subject, key, days, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    return _write(folder, name, key, builder.sign(authority_key, hashes.SHA256()))


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{AUTHORITY}.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / f"{AUTHORITY}.key").read_bytes(), None)
    except OSError as error:
        raise CertificateError(
            f"there is no authority in {folder} ({error.strerror}): make it first, with ca"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{folder / AUTHORITY}.key is no P-256 key")
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Path:
    """NAME.key and NAME.pem; the path of the latter."""
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for place, data in (
            (folder / f"{name}.key", secret),
            (path, certificate.public_bytes(serialization.Encoding.PEM)),
        ):
            # The mode is there from the first moment on, and an existing file is never touched.
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
    except FileExistsError as error:
        raise CertificateError(
            f"{error.filename} exists already; keys and certificates are never overwritten"
        ) from error
    except OSError as error:
        raise CertificateError(f"{error.filename} cannot be written: {error.strerror}") from error
    return path


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, days, text in (
        ("ca", 3650, "an authority"),
        ("server", 365, "a node that listens"),
        ("client", 365, "a caller"),
    ):
        one = kinds.add_parser(kind, help=text)
        if kind != "ca":
            one.add_argument("file", help="name of the files")
        if kind == "server":
            one.add_argument(
                "--name", action="append", default=[], help="host name by which others call it; repeatable"
            )
            one.add_argument("--ip", action="append", default=[], type=ip_address, help="likewise an IP address")
        one.add_argument("--out", type=Path, default=Path("certs"), help="folder [certs]")
        one.add_argument("--days", type=int, default=days, help=f"how long it is valid [{days}]")
    chosen = parser.parse_args(words)
    now = datetime.now(UTC)
    try:
        if chosen.kind == "ca":
            path = make_authority(chosen.out, chosen.days, now)
        elif chosen.kind == "server":
            path = make_server(chosen.out, chosen.file, [*chosen.name, *map(str, chosen.ip)], chosen.days, now)
        else:
            path = make_client(chosen.out, chosen.file, chosen.days, now)
    except CertificateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{path}\n{path.with_suffix('.key')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
