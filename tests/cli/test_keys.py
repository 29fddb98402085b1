"""`fedcoin keys`: made once, encrypted, never shown, never overwritten."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedcoin.cli.main import main
from fedcoin.core.keys import parse_address
from fedcoin.node.key_file import read_key_file


def run(*words: object, passphrase: str | None = "correct horse") -> Result:
    env = {"FEDCOIN_PASSPHRASE": passphrase}
    return CliRunner().invoke(main, [str(word) for word in words], env=env)


def test_a_new_key_is_encrypted_at_rest_and_shown_without_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    made = json.loads(run("keys", "new", path, "--json").output)
    key = read_key_file(path, "correct horse")
    assert key.secret.hex() not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert parse_address(made["address"]) == key.address
    assert made["encrypted"] is True
    shown = run("keys", "show", path, passphrase=None)
    assert made["address"] in shown.output
    assert key.secret.hex() not in shown.output


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    assert run("keys", "new", path).exit_code == 0
    before = path.read_bytes()
    again = run("keys", "new", path)
    assert (again.exit_code, path.read_bytes()) == (1, before)
    assert "error [KEY_FILE_EXISTS]" in again.output


def test_a_passphrase_that_nobody_can_be_asked_for_is_an_error(tmp_path: Path) -> None:
    result = run("keys", "new", tmp_path / "me.json", passphrase=None)
    assert result.exit_code == 1
    assert "error [PASSPHRASE_NEEDED]" in result.output
    assert "FEDCOIN_PASSPHRASE" in result.output


def test_a_wrong_passphrase_is_told(tmp_path: Path) -> None:
    path = tmp_path / "me.json"
    run("keys", "new", path)
    words = ("send", json.loads(run("keys", "show", path, "--json").output)["address"], "1", "--key", path)
    result = run(*words, passphrase="wrong")
    assert result.exit_code == 1
    assert "error [WRONG_PASSPHRASE]" in result.output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("balance", "fdc1nonsense", "--node", "127.0.0.1:1"), "INVALID_ADDRESS"),
        (("tx", "abc", "--node", "127.0.0.1:1"), "ID_MALFORMED"),
        (("block", "5", "--node", "127.0.0.1"), "INVALID_PEER_ADDRESS"),
        (("block", "5", "--node", "127.0.0.1:1"), "PEER_UNREACHABLE"),
        (("keys", "show", "/nonexistent"), "KEY_FILE_UNREADABLE"),
    ],
)
def test_what_is_wrong_is_one_line_with_a_code(words: tuple[str, ...], code: str) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert result.output.startswith(f"error [{code}]: ")
    assert result.output.count("\n") == 1


def test_an_amount_with_nine_decimals_is_a_usage_error(tmp_path: Path) -> None:
    result = run("send", "fdc1x", "0.123456789", "--key", tmp_path / "me.json")
    assert result.exit_code == 2
    assert "more than 8 decimals" in result.output
