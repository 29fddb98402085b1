"""Certificates of tools/make_certs.py: for whom they are good, and what is said where they are not."""

from __future__ import annotations

import importlib.util
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedcoin.core import errors
from fedcoin.node.client_role import ClientStatus
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.client import NodeClient
from fedcoin.rpc.server import RunningServer, serve
from fedcoin.rpc.tls import ClientTls, ServerTls, server_credentials
from tests.support.network import MINERS

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("make_certs", ROOT / "tools" / "make_certs.py")
assert _spec is not None
assert _spec.loader is not None
make_certs: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_certs)
NOW = datetime.now(UTC)


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    folder = tmp_path / "certs"
    for words in (
        ["ca"],
        ["server", "node", "--ip", "127.0.0.1", "--name", "node.example"],
        ["client", "caller"],
    ):
        assert make_certs.main([*words, "--out", str(folder)]) == 0
    return folder


def caller(folder: Path, name: str = "caller", **more: Any) -> ClientTls:
    return ClientTls(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key", **more)


async def ask(running: RunningServer, tls: ClientTls) -> None:
    async with NodeClient(running.address, tls=tls, retry=Retry(1)) as client:
        assert (await client.status()).role == "client"


@pytest.fixture
async def running(certs: Path) -> AsyncIterator[RunningServer]:
    tls = ServerTls(certs / "node.pem", certs / "node.key", certs / "ca.pem")
    server = await serve(ClientStatus(MINERS[0], bytes(32), "test", 0), "127.0.0.1:0", tls=tls)
    yield server
    await server.stop(0)


async def test_both_sides_accept_each_other(certs: Path, running: RunningServer) -> None:
    await ask(running, caller(certs))
    await ask(running, caller(certs, "node"))  # a node calls others with what it serves with
    await ask(running, caller(certs, server_name="node.example"))


async def test_a_certificate_for_another_host_is_named(certs: Path, running: RunningServer) -> None:
    with pytest.raises(errors.TlsHandshakeFailed, match=r"not accepted: .*elsewhere\.example"):
        await ask(running, caller(certs, server_name="elsewhere.example"))


async def test_a_certificate_of_another_authority_is_named(certs: Path, running: RunningServer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make_certs.make_authority(other, 10, NOW)
    make_certs.make_client(other, "caller", 5, NOW)
    with pytest.raises(errors.TlsHandshakeFailed, match="not accepted"):
        await ask(running, caller(other))
    mixed = ClientTls(certs / "ca.pem", other / "caller.pem", other / "caller.key")
    with pytest.raises(errors.TlsHandshakeFailed, match="client certificate"):
        await ask(running, mixed)


async def test_an_expired_certificate_is_named_on_either_side(certs: Path, running: RunningServer) -> None:
    make_certs.make_client(certs, "old", 1, NOW - timedelta(days=2))
    with pytest.raises(errors.TlsFilesInvalid, match=r"old\.pem expired on"):
        await ask(running, caller(certs, "old"))
    make_certs.make_server(certs, "old-node", ["127.0.0.1"], 1, NOW - timedelta(days=2))
    with pytest.raises(errors.TlsFilesInvalid, match="expired on"):
        server_credentials(ServerTls(certs / "old-node.pem", certs / "old-node.key"))


def test_a_client_certificate_is_none_for_a_server(certs: Path) -> None:
    uses = x509.load_pem_x509_certificate((certs / "caller.pem").read_bytes()).extensions
    assert ExtendedKeyUsageOID.SERVER_AUTH not in list(uses.get_extension_for_class(x509.ExtendedKeyUsage).value)
    with pytest.raises(x509.ExtensionNotFound):
        uses.get_extension_for_class(x509.SubjectAlternativeName)


def test_keys_are_their_owners_and_are_never_overwritten(certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in certs.iterdir()}
    assert set(modes.values()) == {0o600}
    assert modes.keys() == {f"{name}.{end}" for name in ("ca", "node", "caller") for end in ("pem", "key")}
    before = {path: path.read_bytes() for path in certs.iterdir()}
    for words in (["ca"], ["client", "caller"], ["server", "node", "--ip", "127.0.0.1"]):
        assert make_certs.main([*words, "--out", str(certs)]) == 1
        assert "never overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in certs.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["server", "node"], "--name or --ip"),
        (["client", "a/b"], "file name"),
        (["client", "ca"], "file name"),
        (["client", "x", "--days", "99999"], "valid until"),
    ],
)
def test_what_cannot_be_made_is_said(
    certs: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_certs.main([*words, "--out", str(certs)]) == 1
    assert reason in capsys.readouterr().err


def test_without_an_authority_nothing_is_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_certs.main(["client", "x", "--out", str(tmp_path)]) == 1
    assert "make it first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
