"""Configurations are checked before anything is opened."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest

from fedcoin.core.errors import ConfigInvalid
from fedcoin.node.config import ClientConfig, MinerConfig, NodeConfig, ServerConfig, ServerSettings, TlsPaths
from fedcoin.node.data_shares import ShareRule
from fedcoin.node.rounds import RoundSettings
from fedcoin.rpc.tls import ClientTls, ServerTls


@pytest.fixture
def genesis(tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.touch()
    return path


def test_what_is_right_passes(genesis: Path) -> None:
    MinerConfig(genesis, Path("key"), peers=("[::1]:7070",)).check()
    ServerConfig(genesis, Path("key"), miners=("host:1",)).check()
    ClientConfig(genesis, Path("key"), server="host:1", miners=("host:1",)).check()


def test_what_is_wrong_is_named(genesis: Path) -> None:
    miner = MinerConfig(genesis, Path("key"))
    server = ServerConfig(genesis, Path("key"), miners=("host:1",))
    client = ClientConfig(genesis, Path("key"), server="host:1", miners=("host:1",))
    settings = ServerSettings()
    wrong: list[tuple[NodeConfig, str]] = [
        (replace(miner, listen="7070"), "listen"),
        (replace(miner, advertise="::1:7070"), "advertise"),
        (replace(miner, listen="host:70707"), "listen"),
        (replace(miner, peers=("host",)), "peers"),
        (replace(miner, audit_share=1.5), "audit_share"),
        (replace(miner, threads=-1), "threads"),
        (replace(miner, evaluator_memory_mb=-1), "evaluator_memory_mb"),
        (replace(miner, genesis=genesis.parent / "none"), "genesis"),
        (replace(server, miners=()), "miners"),
        (replace(server, settings=replace(settings, confirmations=0)), "confirmations"),
        (replace(server, settings=replace(settings, rounds=RoundSettings(deadline_ms=0))), "deadline_ms"),
        (replace(client, server=""), "server"),
        (replace(client, more_key_files=(Path("more"),)), "shares"),
        (replace(client, data=ShareRule("digits", None, 4), first_share=4), "shares"),
        (replace(miner, tls=TlsPaths(certificate=genesis)), "certificate"),
        (replace(miner, tls=TlsPaths(ca=Path("none.pem"))), "none.pem"),
    ]
    for config, named in wrong:
        with pytest.raises(ConfigInvalid, match=named):
            config.check()


def test_tls_is_mutual_with_an_authority() -> None:
    certificate, key, ca = Path("c"), Path("k"), Path("a")
    assert TlsPaths().for_server() is None
    assert TlsPaths().for_client() is None
    assert TlsPaths(certificate, key).for_server() == ServerTls(certificate, key, None)
    assert TlsPaths(certificate, key, ca).for_server() == ServerTls(certificate, key, ca)
    assert TlsPaths(certificate, key, ca).for_client() == ClientTls(ca, certificate, key)
    assert TlsPaths(ca=ca).for_client() == ClientTls(ca, None, None)


def test_a_node_leaves_half_of_its_files_to_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = MinerConfig(tmp_path / "genesis.json", tmp_path / "key.json", max_connections=500, ban_ms=1_000)
    for soft, connections in ((10_000, 500), (600, 300), (resource.RLIM_INFINITY, 500)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert config.limits.connections == connections
    assert config.ban_rule.seconds == 1
