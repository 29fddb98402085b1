"""The configuration of each role: what the command line and the configuration files fill in.

Addresses are HOST:PORT. Times are milliseconds unless a name says otherwise.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass, field
from pathlib import Path

from fedcoin.core.errors import ConfigInvalid
from fedcoin.node.data_shares import ShareRule
from fedcoin.node.rounds import RoundSettings
from fedcoin.rpc.calls import Deadlines
from fedcoin.rpc.limits import Limits
from fedcoin.rpc.score import BanRule
from fedcoin.rpc.tls import ClientTls, ServerTls
from fedcoin.rpc.views import TrainingSettings

EVALUATORS = ("local", "ray")
"""What may evaluate coalitions for a miner."""


@dataclass(frozen=True)
class TlsPaths:
    """PEM files. With `ca`, both sides must show a certificate that it has signed."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    def for_server(self) -> ServerTls | None:
        """What a listening node shows; None: no TLS."""
        if self.certificate is None or self.key is None:
            return None
        return ServerTls(self.certificate, self.key, self.ca)

    def for_client(self) -> ClientTls | None:
        """What a calling node trusts and shows; None: no TLS."""
        if self.certificate is None and self.ca is None:
            return None
        return ClientTls(self.ca, self.certificate, self.key)

    def check(self) -> None:
        """Raises ConfigInvalid where a file is missing, or a certificate stands without its key."""
        if (self.certificate is None) != (self.key is None):
            raise ConfigInvalid("a TLS certificate and its key are given together or not at all")
        for path in (self.certificate, self.key, self.ca):
            if path is not None and not path.is_file():
                raise ConfigInvalid(f"TLS file {path} is not there")


@dataclass(frozen=True)
class NodeConfig:
    """What all roles have."""

    genesis: Path
    """The genesis file of the network."""
    key_file: Path
    """The role's private key."""
    listen: str = "127.0.0.1:0"
    """Where RPCs are served; port 0: any free one."""
    advertise: str = ""
    """Where others reach us, if that is not `listen`."""
    tls: TlsPaths = field(default_factory=TlsPaths)
    threads: int = 0
    """CPU threads for learning; 0: one fewer than there are cores, at least 1."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:<index>."""
    rpc_timeout_ms: int = 10_000
    """Deadline of a call to another node."""
    stop_grace_ms: int = 5_000
    """How long calls in flight may still take when the node stops."""
    max_connections: int = 512
    """TCP connections of callers; fewer if the system allows the process fewer than twice as many open files."""
    ban_ms: int = 600_000
    """How long a peer is refused that has sent too much that is invalid; 0: nobody is."""

    @property
    def deadlines(self) -> Deadlines:
        """Of calls to other nodes."""
        return Deadlines(call=self.rpc_timeout_ms / 1000)

    @property
    def limits(self) -> Limits:
        """Of callers."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = self.max_connections if files == resource.RLIM_INFINITY else min(self.max_connections, files // 2)
        return Limits(connections=max(1, allowed))

    @property
    def ban_rule(self) -> BanRule:
        """When callers and peers are refused."""
        return BanRule(seconds=self.ban_ms / 1000)

    @property
    def learning_threads(self) -> int:
        """`threads`, with 0 resolved."""
        return self.threads or max(1, (os.cpu_count() or 2) - 1)

    def check(self) -> None:
        """Raises ConfigInvalid, naming the field."""
        check_address("listen", self.listen)
        if self.advertise:
            check_address("advertise", self.advertise)
        if self.threads < 0:
            raise ConfigInvalid("threads must not be negative")
        if self.rpc_timeout_ms < 1 or self.stop_grace_ms < 0:
            raise ConfigInvalid("rpc_timeout_ms must be positive, stop_grace_ms not negative")
        if self.max_connections < 1 or self.ban_ms < 0:
            raise ConfigInvalid("max_connections must be positive, ban_ms not negative")
        if not self.genesis.is_file():
            raise ConfigInvalid(f"genesis file {self.genesis} is not there: get the network's file from who runs it")
        self.tls.check()


@dataclass(frozen=True)
class MinerConfig(NodeConfig):
    """A miner."""

    data_folder: Path = Path("miner-data")
    peers: tuple[str, ...] = ()
    """Miners to begin with; more are learned from them."""
    max_peers: int = 64
    mine: bool = True
    """False: follow the chain without working on races."""
    name: str = ""
    """Under which the miner registers itself, if it is not in the genesis."""
    mempool_capacity: int = 10_000
    estimate_interval_ms: int = 1_000
    """How often a running race's estimate is broadcast."""
    audit_share: float = 0.05
    """Work spent on recomputing the leaves of others, as a share of own mining."""
    evaluator_memory_mb: int = 0
    """Working memory of one task's evaluation at most, MiB; 0: chosen from what is free. No result depends on it."""
    blob_budget_mb: int = 16_384
    """Disk for the blobs of tasks that are not settled yet at most, MiB."""
    evaluator: str = "local"
    """local: a process on this machine; ray: the workers of a Ray cluster of the miner's own."""
    ray_address: str = ""
    """HOST:PORT of that cluster's head; empty: what RAY_ADDRESS says, or a Ray started on this machine."""
    ray_workers: int = 0
    """At most; 0: as many as the cluster has room for."""

    def check(self) -> None:
        """Raises ConfigInvalid, naming the field."""
        super().check()
        for peer in self.peers:
            check_address("peers", peer)
        if not 0 <= self.audit_share <= 1:
            raise ConfigInvalid("audit_share must be from 0 to 1")
        if self.max_peers < 1 or self.mempool_capacity < 1 or self.estimate_interval_ms < 1:
            raise ConfigInvalid("max_peers, mempool_capacity and estimate_interval_ms must be positive")
        if self.evaluator_memory_mb < 0 or self.blob_budget_mb < 1:
            raise ConfigInvalid("evaluator_memory_mb must not be negative, blob_budget_mb must be positive")
        if self.evaluator not in EVALUATORS:
            raise ConfigInvalid(f"evaluator: {self.evaluator!r} is none of {', '.join(EVALUATORS)}")
        if self.ray_workers < 0:
            raise ConfigInvalid("ray_workers must not be negative")
        if self.evaluator != "ray" and (self.ray_address or self.ray_workers):
            raise ConfigInvalid('ray_address and ray_workers are for evaluator = "ray"')


@dataclass(frozen=True)
class ServerSettings:
    """What an FL server does, apart from where it lies."""

    confirmations: int = 1
    """Blocks, its own included, that a deposit or settlement must have before the server relies on it. More than 1
    needs a network whose blocks go on without tasks (heartbeat_ms)."""
    rounds: RoundSettings = field(default_factory=RoundSettings)
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(20, 32, 0.1, 0.0))
    max_rounds: int = 1000
    """Of an order."""
    min_com_price: int = 0
    """Units of ComPrice that an order must offer in all."""
    max_waiting_orders: int = 100
    max_offers: int = 64
    """Evaluation sets awaited from requesters who have not paid yet."""
    max_clients: int = 4096
    keep_orders: int = 10
    """Blobs of this many ended orders are kept, for miners that fetch late."""
    poll_ms: int = 500
    """How often the chain is looked at, where no miner says that there is a new block."""
    expiry_grace_ms: int = 60_000
    """An order is given up this long after its expiry."""

    def check(self) -> None:
        """Raises ConfigInvalid, naming the field."""
        for name in ("confirmations", "max_rounds", "max_waiting_orders", "max_offers", "max_clients", "poll_ms"):
            if getattr(self, name) < 1:
                raise ConfigInvalid(f"{name} must be positive")
        if self.rounds.deadline_ms < 1 or self.rounds.heard_within_ms < 1 or self.rounds.clients_per_round < 0:
            raise ConfigInvalid("rounds: deadline_ms and heard_within_ms must be positive, clients_per_round ≥ 0")
        if self.training.iterations < 1 or self.training.batch_size < 1 or not self.training.learning_rate > 0:
            raise ConfigInvalid("training: iterations, batch_size and learning_rate must be positive")


@dataclass(frozen=True)
class ServerConfig(NodeConfig):
    """An FL server."""

    data_folder: Path = Path("server-data")
    miners: tuple[str, ...] = ()
    """Miners to ask and to publish tasks to, the preferred first."""
    settings: ServerSettings = field(default_factory=ServerSettings)

    def check(self) -> None:
        """Raises ConfigInvalid, naming the field."""
        super().check()
        check_miners(self.miners)
        self.settings.check()


@dataclass(frozen=True)
class ClientSettings:
    """What FL clients do."""

    join_interval_ms: int = 15_000
    """How often a client says that it is there."""
    poll_wait_seconds: float = 10.0
    """How long the server may hold a question for work open."""
    retry_ms: int = 1_000
    """Pause after a failure, doubled up to `max_retry_ms`."""
    max_retry_ms: int = 15_000
    balance_interval_ms: int = 2_000
    """How often balances are looked at."""
    max_epochs: int = 1000
    """Offers that want more passes over the data are declined."""
    min_train_price: int = 0
    """Units; offers below are declined."""
    device: str = "cpu"

    def check(self) -> None:
        """Raises ConfigInvalid, naming the field."""
        for name in ("join_interval_ms", "retry_ms", "max_retry_ms", "balance_interval_ms", "max_epochs"):
            if getattr(self, name) < 1:
                raise ConfigInvalid(f"{name} must be positive")


@dataclass(frozen=True)
class ClientConfig(NodeConfig):
    """One process with one or more FL clients."""

    server: str = ""
    """The FL server to work for."""
    miners: tuple[str, ...] = ()
    """Miners to ask about payments, the preferred first."""
    more_key_files: tuple[Path, ...] = ()
    """Keys of further clients in this process, after `key_file`'s."""
    data: ShareRule = field(default_factory=lambda: ShareRule("digits", None, 1))
    """The data set, and how it is divided among the clients of the network."""
    first_share: int = 0
    """The first hosted client has this share, the next one the next."""
    settings: ClientSettings = field(default_factory=ClientSettings)

    def check(self) -> None:
        """Raises ConfigInvalid, naming the field."""
        super().check()
        check_address("server", self.server)
        check_miners(self.miners)
        if self.first_share < 0 or self.first_share + len(self.more_key_files) >= self.data.shares:
            raise ConfigInvalid(
                f"data: share number {self.first_share + len(self.more_key_files)} is wanted (they count from 0), "
                f"but the data are divided into {self.data.shares}: raise --shares"
            )
        self.settings.check()


def check_address(name: str, address: str) -> None:
    """Raises ConfigInvalid unless it is HOST:PORT (an IPv6 host in brackets)."""
    host, separator, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not host or (":" in host and not bracketed) or not port.isdecimal() or int(port) > 65_535:
        raise ConfigInvalid(f"{name}: {address!r} is not HOST:PORT")


def check_miners(miners: tuple[str, ...]) -> None:
    """Raises ConfigInvalid unless there is one at least."""
    if not miners:
        raise ConfigInvalid("miners: give the address of one miner at least")
    for miner in miners:
        check_address("miners", miner)
