"""Key files: encrypted, private, never overwritten."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fedcoin.core.errors import (
    ConfigInvalid,
    KeyFileExists,
    KeyFileOpen,
    KeyFileUnreadable,
    MalformedKeyFile,
    PassphraseNeeded,
    WrongPassphrase,
)
from fedcoin.core.keys import PrivateKey, format_address
from fedcoin.node.key_file import inspect_key_file, random_key, read_key_file, write_key_file

KEY = PrivateKey(b"\x21" * 32)
N = 2**10


def written(path: Path, passphrase: str | None = "correct horse", plain: bool = False) -> Path:
    write_key_file(path, KEY, passphrase, plain=plain, scrypt_n=N)
    return path


def test_round_trip_and_what_shows_without_the_passphrase(tmp_path: Path) -> None:
    path = written(tmp_path / "keys" / "server.key")
    assert read_key_file(path, "correct horse").secret == KEY.secret
    shown = inspect_key_file(path)
    assert (shown.address, shown.public_key, shown.encrypted, shown.warnings) == (
        KEY.address,
        KEY.public_key,
        True,
        (),
    )
    assert KEY.secret.hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["server.key"]


def test_a_wrong_or_missing_passphrase(tmp_path: Path) -> None:
    path = written(tmp_path / "key")
    with pytest.raises(WrongPassphrase):
        read_key_file(path, "correct hors")
    with pytest.raises(PassphraseNeeded):
        read_key_file(path)


def test_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "key")
    before = path.read_bytes()
    with pytest.raises(KeyFileExists):
        write_key_file(path, random_key(), "other", scrypt_n=N)
    assert path.read_bytes() == before


def test_plain_only_when_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        written(tmp_path / "key", passphrase=None)
    with pytest.raises(ConfigInvalid):
        written(tmp_path / "key", passphrase="", plain=False)
    with pytest.raises(ConfigInvalid):
        written(tmp_path / "key", passphrase="x", plain=True)
    path = written(tmp_path / "key", passphrase=None, plain=True)
    assert read_key_file(path).secret == KEY.secret
    assert "not encrypted" in inspect_key_file(path).warnings[0]


def test_warns_when_others_can_read_it(tmp_path: Path) -> None:
    path = written(tmp_path / "key")
    path.chmod(0o640)
    assert "chmod 600" in inspect_key_file(path).warnings[0]
    assert read_key_file(path, "correct horse").secret == KEY.secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_plain_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key", passphrase=None, plain=True)
    path.chmod(mode)
    with pytest.raises(KeyFileOpen, match="chmod 600"):
        read_key_file(path)
    path.chmod(0o600)
    assert read_key_file(path).secret == KEY.secret


def test_a_key_file_is_private_from_the_first_moment_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the umask, and already before the secret is in it."""
    seen: list[int] = []
    write = os.fdopen

    def watched(descriptor: int, *more: Any) -> Any:
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        return write(descriptor, *more)

    monkeypatch.setattr(os, "fdopen", watched)
    before = os.umask(0)
    try:
        path = written(tmp_path / "key", passphrase=None, plain=True)
    finally:
        os.umask(before)
    assert seen == [0o600]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("field", ["address", "public_key", "scrypt", "nonce", "ciphertext", "version", "encryption"])
def test_tampering_is_found(tmp_path: Path, field: str) -> None:
    path = written(tmp_path / "key")
    data = json.loads(path.read_text())
    other = PrivateKey(b"\x22" * 32)
    data[field] = {
        "address": format_address(other.address),
        "public_key": other.public_key.hex(),
        "scrypt": {**data["scrypt"], "n": 2**30},
        "nonce": data["nonce"][:-2],
        "ciphertext": data["ciphertext"][:-2] + "zz",
        "version": 2,
        "encryption": "rot13",
    }[field]
    path.write_text(json.dumps(data))
    with pytest.raises(MalformedKeyFile):
        read_key_file(path, "correct horse")


def test_the_clear_part_is_authenticated(tmp_path: Path) -> None:
    path = written(tmp_path / "key")
    data = json.loads(path.read_text())
    other = PrivateKey(b"\x22" * 32)
    data |= {"address": format_address(other.address), "public_key": other.public_key.hex()}
    path.write_text(json.dumps(data))
    with pytest.raises(WrongPassphrase):
        read_key_file(path, "correct horse")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": "fedcoin-key"}', "\x00" * 100, "[" * 10_000, "x" * 20_000]
)
def test_other_files_are_no_key_files(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(MalformedKeyFile):
        inspect_key_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyFileUnreadable, match="No such file"):
        read_key_file(tmp_path / "key")


def test_random_keys_avoid_what_is_no_key() -> None:
    draws = iter([bytes(32), b"\xff" * 32, b"\x21" * 32])
    assert random_key(lambda count: next(draws)).secret == KEY.secret
