"""Key files: one private key each, encrypted at rest (scrypt, then ChaCha20-Poly1305), in JSON, mode 0600.

A key file is never overwritten: a lost key is lost money. The public part stands in clear text and is authenticated
with the rest, so that a file shows whose it is without its passphrase.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fedcoin.core.errors import (
    ConfigInvalid,
    FedCoinError,
    KeyFileExists,
    KeyFileOpen,
    KeyFileUnreadable,
    MalformedEncoding,
    MalformedKeyFile,
    PassphraseNeeded,
    WrongPassphrase,
)
from fedcoin.core.keys import PrivateKey, format_address
from fedcoin.node.json_values import read_hex

_FORMAT = "fedcoin-key"
_VERSION = 1
_PLAIN = "none"
_ENCRYPTED = "scrypt+chacha20-poly1305"
_MAX_BYTES = 16_384
SCRYPT_N = 2**17
"""Cost of the passphrase: about half a second and 128 MB, each guess as much."""
_SCRYPT_R = 8
_MAX_SCRYPT_N = 2**20
# A hostile file must not make us take more memory than this costs (1 GiB).


@dataclass(frozen=True)
class KeyFile:
    """What a key file shows without its passphrase."""

    path: Path
    address: bytes
    public_key: bytes
    encrypted: bool
    open: bool
    """Other users may read or write it."""
    warnings: tuple[str, ...]
    """For people: that the file is plain, or open to other users."""


def random_key(random_bytes: Callable[[int], bytes] = os.urandom) -> PrivateKey:
    """A new private key."""
    while True:
        secret = random_bytes(32)
        try:
            return PrivateKey(secret)
        except FedCoinError:
            continue  # 0 or above the curve order: less likely than 2^-127


def write_key_file(
    path: Path,
    key: PrivateKey,
    passphrase: str | None,
    *,
    plain: bool = False,
    scrypt_n: int = SCRYPT_N,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> None:
    """Write `key` to a new file, encrypted with `passphrase`, or in clear text if `plain` is set and there is none.

    Raises KeyFileExists, ConfigInvalid (neither or both of the two, or a folder that cannot be written to).
    """
    if plain == bool(passphrase):
        raise ConfigInvalid("give either a passphrase, or say explicitly that the key file shall be plain")
    header: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "address": format_address(key.address),
        "public_key": key.public_key.hex(),
        "encryption": _PLAIN if plain else _ENCRYPTED,
    }
    if passphrase:
        salt, nonce = random_bytes(16), random_bytes(12)
        header |= {"scrypt": {"n": scrypt_n, "r": _SCRYPT_R, "p": 1, "salt": salt.hex()}, "nonce": nonce.hex()}
        sealed = ChaCha20Poly1305(_derive(passphrase, salt, scrypt_n)).encrypt(nonce, key.secret, _associated(header))
        header["ciphertext"] = sealed.hex()
    else:
        header["secret"] = key.secret.hex()
    _write_new(path, (json.dumps(header, indent=2) + "\n").encode())


def inspect_key_file(path: Path) -> KeyFile:
    """Whose key a file holds. Raises KeyFileUnreadable, MalformedKeyFile."""
    return _inspect(path, _load(path))


def read_key_file(path: Path, passphrase: str | None = None) -> PrivateKey:
    """The key in a file. A plain file needs no passphrase, but must be closed to other users.

    Raises KeyFileUnreadable, KeyFileOpen, MalformedKeyFile, PassphraseNeeded, WrongPassphrase.
    """
    data = _load(path)
    shown = _inspect(path, data)
    try:
        if not shown.encrypted:
            if shown.open:
                raise KeyFileOpen(f"{path} is not encrypted, and open to other users: run chmod 600 on it")
            secret = read_hex(data["secret"], "secret")
        elif not passphrase:
            raise PassphraseNeeded(f"{path} is encrypted: a passphrase is needed")
        else:
            secret = _open(path, data, passphrase)
        key = PrivateKey(secret)
    except (MalformedEncoding, KeyError, TypeError) as error:
        raise MalformedKeyFile(f"{path}: {error}") from error
    if key.public_key != shown.public_key:
        raise MalformedKeyFile(f"{path}: the key inside is not the one that the file names")
    return key


def _open(path: Path, data: dict[str, Any], passphrase: str) -> bytes:
    scrypt = data["scrypt"]
    n, r, p = scrypt["n"], scrypt["r"], scrypt["p"]
    if type(n) is not int or not 2 <= n <= _MAX_SCRYPT_N or n & (n - 1) or r != _SCRYPT_R or p != 1:
        raise MalformedEncoding("scrypt parameters that are not supported")
    salt, nonce = read_hex(scrypt["salt"], "scrypt.salt"), read_hex(data["nonce"], "nonce")
    sealed = read_hex(data["ciphertext"], "ciphertext")
    if len(nonce) != 12:
        raise MalformedEncoding("nonce: expected 12 bytes")
    header = {name: value for name, value in data.items() if name != "ciphertext"}
    try:
        return ChaCha20Poly1305(_derive(passphrase, salt, n)).decrypt(nonce, sealed, _associated(header))
    except InvalidTag as error:
        raise WrongPassphrase(f"the passphrase does not open {path} (or the file has been changed)") from error


def _derive(passphrase: str, salt: bytes, n: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=_SCRYPT_R, p=1).derive(passphrase.encode())


def _associated(header: dict[str, Any]) -> bytes:
    """The clear part, which the cipher authenticates."""
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileUnreadable(f"{path} cannot be read: {error.strerror}") from error
    try:
        data = json.loads(raw) if len(raw) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise MalformedKeyFile(f"{path} is no FedCoin key file")
    if data.get("version") != _VERSION or data.get("encryption") not in (_PLAIN, _ENCRYPTED):
        raise MalformedKeyFile(f"{path} is of a version or encryption that this program does not know")
    return data


def _inspect(path: Path, data: dict[str, Any]) -> KeyFile:
    from fedcoin.core.keys import address_of

    try:
        public_key = read_hex(data.get("public_key"), "public_key")
    except MalformedEncoding as error:
        raise MalformedKeyFile(f"{path}: {error.message}") from error
    address = address_of(public_key)
    if data.get("address") != format_address(address):
        raise MalformedKeyFile(f"{path}: the address does not belong to the public key")
    encrypted = data["encryption"] != _PLAIN
    warnings = []
    if not encrypted:
        warnings.append(f"{path} is not encrypted: whoever reads it can spend the money")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise KeyFileUnreadable(f"{path} cannot be read: {error.strerror}") from error
    exposed = bool(mode & (stat.S_IRWXG | stat.S_IRWXO))
    if exposed:
        warnings.append(f"{path} is open to other users: run chmod 600 on it")
    return KeyFile(path, address, public_key, encrypted, exposed, tuple(warnings))


def _write_new(path: Path, data: bytes) -> None:
    """Put `data` into a file that must not exist, complete or not at all."""
    if path.exists():
        raise KeyFileExists(f"{path} exists already; key files are never overwritten")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix=".key-", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(name, path)  # fails where the name has been taken meanwhile
        finally:
            Path(name).unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise KeyFileExists(f"{path} exists already; key files are never overwritten") from error
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be written: {error.strerror}") from error
