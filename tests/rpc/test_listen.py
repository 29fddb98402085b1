"""Listening: roles, ports, health, reflection, TLS, stopping; and clients of peers that are not there."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sysconfig
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fedcoin.core import errors
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import serve, services_of
from fedcoin.rpc.server_client import ServerClient
from fedcoin.rpc.tls import ClientTls, ServerTls, channel_credentials, server_credentials

MINER_SERVICES = {"Node", "Peer", "Task", "Shapley", "Block", "Transaction", "Blob", "Registry"}


def test_services_follow_from_the_handler(samples: SimpleNamespace) -> None:
    def names(handler: Any) -> set[str]:
        return {service.name.removesuffix("Service") for service in services_of(handler)}

    assert names(samples.Miner()) == MINER_SERVICES
    assert names(samples.Server()) == {"Node", "Blob", "Training", "Order"}
    assert names(samples.Client()) == {"Node"}


def test_a_handler_with_half_a_service_is_a_mistake() -> None:
    class Half:
        async def status(self) -> None: ...
        async def join(self) -> None: ...

    with pytest.raises(TypeError, match="Half lacks poll_round, expect_update, submit_update for TrainingService"):
        services_of(Half())  # type: ignore[arg-type]


async def test_a_free_port_is_found_and_told(start: Any, miner: Any) -> None:
    running = await start(miner)
    assert running.port > 0
    assert running.address == f"127.0.0.1:{running.port}"
    assert set(running.services) == {f"fedcoin.v1.{name}Service" for name in MINER_SERVICES}


async def test_a_port_in_use_is_an_error(start: Any, samples: SimpleNamespace) -> None:
    running = await start(samples.Miner())
    with pytest.raises(errors.PortInUse, match=str(running.port)):
        await serve(samples.Miner(), running.address)


async def test_a_port_is_free_again_after_stop(start: Any, samples: SimpleNamespace) -> None:
    running = await start(samples.Miner())
    async with MinerClient(running.address, retry=Retry(1)) as client:
        await client.status()
        await running.stop(0)
        await running.stop(0)
        with pytest.raises(errors.PeerUnreachable, match=running.address):
            await client.status()
        await start(samples.Miner(), running.address)
        client._retry = Retry(20, 0.1)
        assert await client.status() == samples.STATUS


@pytest.mark.parametrize("address", ["192.0.2.1:7070", "no-such-host.invalid:7070"])
async def test_addresses_of_other_machines_are_an_error(samples: SimpleNamespace, address: str) -> None:
    with pytest.raises(errors.ListenAddressUnavailable):
        await serve(samples.Miner(), address)


async def test_stopping_lets_calls_end_and_then_ends_them(start: Any, miner: Any, samples: SimpleNamespace) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        entered.set()
        await release.wait()
        return samples.STATUS

    miner.status = slow
    running = await start(miner)
    async with MinerClient(running.address, retry=Retry(1)) as client:
        call = asyncio.create_task(client.status())
        await entered.wait()
        stopping = asyncio.create_task(running.stop(10))
        await asyncio.wait([stopping], timeout=0.05)
        release.set()
        assert await call == samples.STATUS
        await stopping
        await running.wait()


async def test_nobody_there(samples: SimpleNamespace, start: Any) -> None:
    running = await start(samples.Miner())
    await running.stop(0)
    async with MinerClient(running.address, retry=Retry(2, 0.01)) as client:
        with pytest.raises(errors.PeerUnreachable, match=f"{running.address} does not answer"):
            await client.status()
        with pytest.raises(errors.PeerUnreachable):
            [block async for block in client.blocks_after([], 1)]
        with pytest.raises(errors.PeerUnreachable):
            await client.put_blob(samples.h("x"), b"x")


async def test_closing_a_client_ends_its_calls(start: Any, miner: Any) -> None:
    running = await start(miner)
    client = MinerClient(running.address, retry=Retry(1))
    watch = asyncio.ensure_future(anext(client.watch_blocks(0)))
    await client.status()
    await client.close()
    with pytest.raises((errors.PeerUnreachable, asyncio.CancelledError)):
        await watch


async def test_the_wrong_role(start: Any, samples: SimpleNamespace) -> None:
    running = await start(samples.Client())
    async with ServerClient(running.address) as client:
        assert await client.status() == samples.STATUS
        with pytest.raises(errors.WrongRole, match=running.address):
            await client.info()


async def test_what_is_unavailable_for_a_moment_is_asked_again(
    start: Any, miner: Any, samples: SimpleNamespace
) -> None:
    calls = 0

    async def flaky() -> Any:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise errors.StoreUnavailable("the disk is busy")
        return samples.STATUS

    miner.status = flaky
    running = await start(miner)
    async with MinerClient(running.address, retry=Retry(2, 0.001)) as client:
        with pytest.raises(errors.StoreUnavailable, match="busy"):
            await client.status()
        assert await client.status() == samples.STATUS
    assert calls == 3


async def test_what_is_refused_is_not_asked_again(start: Any, miner: Any) -> None:
    calls = 0

    async def refused() -> Any:
        nonlocal calls
        calls += 1
        raise errors.BlockNotFound

    miner.status = refused
    running = await start(miner)
    async with MinerClient(running.address, retry=Retry(5, 0.001)) as client:
        with pytest.raises(errors.BlockNotFound):
            await client.status()
    assert calls == 1


async def test_uploads_start_anew_on_retry(start: Any, miner: Any) -> None:
    attempts: list[bytes] = []

    async def flaky(digest: bytes, data: bytes) -> None:
        attempts.append(data)
        if len(attempts) == 1:
            raise errors.StoreUnavailable

    miner.put_blob = flaky
    running = await start(miner)
    data = bytes(2**20 + 1)
    async with MinerClient(running.address, retry=Retry(2, 0.001)) as client:
        await client.put_blob(hashlib.sha256(data).digest(), data)
    assert attempts == [data, data]


async def test_health_and_reflection_answer(start: Any, miner: Any) -> None:
    running = await start(miner)
    async with grpc.aio.insecure_channel(running.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "fedcoin.v1.BlockService"):
            response = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert response.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING

        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [answer async for answer in reflection.ServerReflectionInfo(iter([ask]))]
        names = {service.name for service in answers[0].list_services_response.service}
        assert names >= {*running.services, "grpc.health.v1.Health"}

        await running.stop(0)


@pytest.mark.functional
async def test_buf_curl_speaks_to_a_node(start: Any, miner: Any) -> None:
    buf = Path(sysconfig.get_path("scripts")) / "buf"
    if not buf.exists():
        pytest.skip("buf is not installed")
    running = await start(miner)
    process = await asyncio.create_subprocess_exec(
        str(buf),
        "curl",
        "--http2-prior-knowledge",
        "--protocol",
        "grpc",
        "--data",
        '{"page_size": 2}',
        f"http://{running.address}/fedcoin.v1.PeerService/ListPeers",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    answer = json.loads(out)
    assert [peer["address"] for peer in answer["peers"]] == ["host0:70", "host1:70"]
    assert answer["nextPageToken"]


# --- TLS -------------------------------------------------------------------------------------------------------------

Issue = Callable[..., tuple[Path, Path]]


@pytest.fixture
def issue(tmp_path: Path) -> Issue:
    """Makes a certificate and key: issue(name, by=None, days=1, kind=P-256) → (certificate file, key file)."""
    made: dict[str, tuple[Any, Any]] = {}

    def make(name: str, by: str | None = None, days: int = 1, key: Any = None) -> tuple[Path, Path]:
        private = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = made[by] if by else (subject, private)
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]), False
            )
            .sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        )
        made[name] = (subject, private)
        files = tmp_path / f"{name}.crt", tmp_path / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    return make


async def test_tls_and_mutual_tls(start: Any, samples: SimpleNamespace, issue: Issue) -> None:
    ca, _ = issue("ca")
    node, caller = issue("node", by="ca"), issue("caller", by="ca")
    for client_ca in (None, ca):
        running = await start(samples.Miner(), tls=ServerTls(*node, client_ca=client_ca))
        async with MinerClient(running.address, tls=ClientTls(ca, *caller)) as client:
            assert await client.status() == samples.STATUS


async def test_tls_problems_are_named_and_not_taken_for_an_absent_peer(
    start: Any, samples: SimpleNamespace, issue: Issue
) -> None:
    ca, _ = issue("ca")
    stranger, _ = issue("stranger")
    running = await start(samples.Miner(), tls=ServerTls(*issue("node", by="ca"), client_ca=ca))
    async with MinerClient(running.address, tls=ClientTls(stranger), retry=Retry(1)) as client:
        with pytest.raises(errors.TlsHandshakeFailed, match=r"certificate is not accepted"):
            await client.status()
    async with MinerClient(running.address, tls=ClientTls(ca), retry=Retry(1)) as client:
        with pytest.raises(errors.TlsHandshakeFailed, match=r"client certificate"):
            await client.status()
    plain = await start(samples.Miner())
    async with MinerClient(plain.address, tls=ClientTls(ca), retry=Retry(1)) as client:
        with pytest.raises(errors.TlsHandshakeFailed, match=r"Does the peer use TLS"):
            await client.status()
    await plain.stop(0)
    async with MinerClient(plain.address, tls=ClientTls(ca), retry=Retry(1)) as client:
        with pytest.raises(errors.PeerUnreachable):
            await client.status()
    async with MinerClient(running.address, retry=Retry(1)) as client:
        with pytest.raises(errors.PeerUnreachable):
            await client.status()


def test_unsuitable_certificates_are_refused_at_once(issue: Issue, tmp_path: Path) -> None:
    good, other = issue("good"), issue("other")
    bad: list[tuple[ServerTls, str]] = [
        (ServerTls(tmp_path / "none.crt", good[1]), "cannot be read"),
        (ServerTls(good[0], tmp_path / "none.key"), "cannot be read"),
        (ServerTls(good[1], good[1]), "no PEM certificate"),
        (ServerTls(good[0], good[0]), "no PEM private key"),
        (ServerTls(good[0], other[1]), "do not belong together"),
        (ServerTls(*issue("old", days=-1)), "expired on"),
        (ServerTls(*issue("ed", key=ed25519.Ed25519PrivateKey.generate())), "P-256"),
        (ServerTls(*issue("koblitz", key=ec.generate_private_key(ec.SECP256K1()))), "P-256"),
    ]
    for files, message in bad:
        with pytest.raises(errors.TlsFilesInvalid, match=message):
            server_credentials(files)
    with pytest.raises(errors.TlsFilesInvalid, match="valid only from"):
        server_credentials(ServerTls(*good), datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(errors.TlsFilesInvalid, match="both or neither"):
        channel_credentials(ClientTls(good[0], good[0]))


@pytest.mark.parametrize("passphrase", [b"secret"])
def test_encrypted_keys_are_refused(issue: Issue, tmp_path: Path, passphrase: bytes) -> None:
    certificate, key = issue("good")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )
    )
    with pytest.raises(errors.TlsFilesInvalid, match="without passphrase"):
        server_credentials(ServerTls(certificate, key))
