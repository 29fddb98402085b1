"""TLS: certificates are checked before gRPC gets them, because gRPC reports a bad one only as an unreachable peer.

gRPC takes certificates with P-256 (P-384, P-521) or RSA keys, not with the chain's secp256k1 keys and not with Ed25519.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedcoin.core.errors import FedCoinError, TlsFilesInvalid, TlsHandshakeFailed
from fedcoin.rpc.address import split_address

log = logging.getLogger("fedcoin.rpc")

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_DIAGNOSIS_SECONDS = 3.0


@dataclass(frozen=True)
class ServerTls:
    """Files that a listening node shows. With `client_ca`, callers must show a certificate too (mutual TLS)."""

    certificate: Path
    """PEM, the node's certificate first."""
    key: Path
    """PEM, without passphrase."""
    client_ca: Path | None = None
    """PEM: who may sign callers' certificates."""


@dataclass(frozen=True)
class ClientTls:
    """Files that a calling node trusts and shows."""

    ca: Path | None = None
    """PEM: who may sign the peers' certificates; None: the system's."""
    certificate: Path | None = None
    """PEM, for mutual TLS."""
    key: Path | None = None
    server_name: str | None = None
    """Name that the peer's certificate must have, where it differs from the address."""


def server_credentials(tls: ServerTls, now: datetime | None = None) -> grpc.ServerCredentials:
    """Credentials for listening. Raises TlsFilesInvalid."""
    pair = _checked_pair(tls.certificate, tls.key, now)
    ca = _checked_certificates(tls.client_ca, now) if tls.client_ca else None
    return grpc.ssl_server_credentials([(pair[1], pair[0])], root_certificates=ca, require_client_auth=ca is not None)


def channel_credentials(tls: ClientTls, now: datetime | None = None) -> grpc.ChannelCredentials:
    """Credentials for calling. Raises TlsFilesInvalid."""
    ca = _checked_certificates(tls.ca, now) if tls.ca else None
    if (tls.certificate is None) != (tls.key is None):
        raise TlsFilesInvalid("a client certificate and its key belong together: give both or neither")
    certificate, key = _checked_pair(tls.certificate, tls.key, now) if tls.certificate and tls.key else (None, None)
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)


async def diagnose(address: str, tls: ClientTls) -> FedCoinError | None:
    """Why a TLS peer that gRPC calls unavailable does not take us, or None if the handshake works or nobody listens."""
    host, port = split_address(address)
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        context.set_alpn_protocols(["h2"])
        if tls.certificate and tls.key:
            context.load_cert_chain(str(tls.certificate), str(tls.key))
        async with asyncio.timeout(_DIAGNOSIS_SECONDS):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=tls.server_name or host
            )
    except ssl.SSLCertVerificationError as error:
        return TlsHandshakeFailed(f"{address}: its certificate is not accepted: {error.verify_message}")
    except (ssl.SSLError, ConnectionResetError) as error:
        reason = (getattr(error, "reason", None) or "connection reset").replace("_", " ").lower()
        return TlsHandshakeFailed(f"{address}: no TLS connection: {reason}. Does the peer use TLS?")
    except (OSError, TimeoutError):
        return None
    try:
        # Under TLS 1.3 a peer refuses our certificate only after the handshake. One that accepts us speaks at once.
        async with asyncio.timeout(_DIAGNOSIS_SECONDS):
            if await reader.read(1):
                return None
    except TimeoutError:
        return None
    except OSError:  # ssl.SSLError among them
        pass
    finally:
        writer.close()
    return TlsHandshakeFailed(
        f"{address} ends the connection after the TLS handshake: it wants a client certificate signed by its authority"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFilesInvalid(f"{path} cannot be read: {error.strerror}") from error


def _checked_certificates(path: Path, now: datetime | None) -> bytes:
    data = _read(path)
    moment = now or datetime.now(UTC)
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise TlsFilesInvalid(f"{path} holds no PEM certificate") from error
    for certificate in certificates:
        if moment < certificate.not_valid_before_utc:
            raise TlsFilesInvalid(f"{path} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on")
        if moment > certificate.not_valid_after_utc:
            raise TlsFilesInvalid(f"{path} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it")
    return data


def _checked_pair(certificate: Path, key: Path, now: datetime | None) -> tuple[bytes, bytes]:
    certificate_data, key_data = _checked_certificates(certificate, now), _read(key)
    if key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        log.warning("%s is open to other users: run chmod 600 on it", key)
    try:
        private = load_pem_private_key(key_data, None)
    except TypeError as error:
        raise TlsFilesInvalid(f"{key} is encrypted: give a key without passphrase") from error
    except ValueError as error:
        raise TlsFilesInvalid(f"{key} holds no PEM private key") from error
    elliptic = isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES
    if not elliptic and not isinstance(private, rsa.RSAPrivateKey):
        raise TlsFilesInvalid(f"{key} is of a kind that gRPC does not take: make one with P-256 or RSA")
    if x509.load_pem_x509_certificates(certificate_data)[0].public_key() != private.public_key():
        raise TlsFilesInvalid(f"{certificate} and {key} do not belong together")
    return certificate_data, key_data
