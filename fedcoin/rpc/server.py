"""A listening node: the services that its handler has the methods for, health and reflection, TLS, a graceful stop."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from fedcoin.core.errors import ListenAddressUnavailable, PortInUse
from fedcoin.rpc import quiet
from fedcoin.rpc.address import join_address, split_address
from fedcoin.rpc.channel import SERVER_OPTIONS
from fedcoin.rpc.guard import Guard
from fedcoin.rpc.handlers import NodeHandler
from fedcoin.rpc.limits import Limits
from fedcoin.rpc.score import Scores
from fedcoin.rpc.servicers.blob import BlobServicer
from fedcoin.rpc.servicers.block import BlockServicer
from fedcoin.rpc.servicers.node import NodeServicer
from fedcoin.rpc.servicers.order import OrderServicer
from fedcoin.rpc.servicers.peer import PeerServicer
from fedcoin.rpc.servicers.registry import RegistryServicer
from fedcoin.rpc.servicers.shapley import ShapleyServicer
from fedcoin.rpc.servicers.task import TaskServicer
from fedcoin.rpc.servicers.training import TrainingServicer
from fedcoin.rpc.servicers.transaction import TransactionServicer
from fedcoin.rpc.tls import ServerTls, server_credentials
from fedcoin.v1 import (
    blob_service_pb2_grpc,
    block_service_pb2_grpc,
    node_service_pb2_grpc,
    order_service_pb2_grpc,
    peer_service_pb2_grpc,
    registry_service_pb2_grpc,
    shapley_service_pb2_grpc,
    task_service_pb2_grpc,
    training_service_pb2_grpc,
    transaction_service_pb2_grpc,
)


@dataclass(frozen=True)
class Service:
    """A service, and the handler's methods that it delegates to."""

    name: str
    servicer: Callable[[Any], Any]
    register: Callable[[Any, grpc.aio.Server], None]
    methods: tuple[str, ...]


SERVICES = (
    Service("NodeService", NodeServicer, node_service_pb2_grpc.add_NodeServiceServicer_to_server, ("status",)),
    Service(
        "PeerService",
        PeerServicer,
        peer_service_pb2_grpc.add_PeerServiceServicer_to_server,
        ("genesis", "peers", "announce", "prove"),
    ),
    Service(
        "TaskService",
        TaskServicer,
        task_service_pb2_grpc.add_TaskServiceServicer_to_server,
        ("task_terms", "publish_task", "open_tasks"),
    ),
    Service(
        "ShapleyService",
        ShapleyServicer,
        shapley_service_pb2_grpc.add_ShapleyServiceServicer_to_server,
        ("receive_estimate", "estimates", "leaves", "mining"),
    ),
    Service(
        "BlockService",
        BlockServicer,
        block_service_pb2_grpc.add_BlockServiceServicer_to_server,
        ("receive_block", "block", "blocks_after", "watch_blocks"),
    ),
    Service(
        "TransactionService",
        TransactionServicer,
        transaction_service_pb2_grpc.add_TransactionServiceServicer_to_server,
        (
            "submit",
            "receive_transactions",
            "transaction",
            "account",
            "accounts",
            "history",
            "order",
            "orders",
            "mempool",
        ),
    ),
    Service(
        "RegistryService",
        RegistryServicer,
        registry_service_pb2_grpc.add_RegistryServiceServicer_to_server,
        ("miners", "fraud_cases"),
    ),
    Service(
        "BlobService",
        BlobServicer,
        blob_service_pb2_grpc.add_BlobServiceServicer_to_server,
        ("blob_size", "blob_part", "expect_blob", "put_blob", "max_blob_bytes"),
    ),
    Service(
        "TrainingService",
        TrainingServicer,
        training_service_pb2_grpc.add_TrainingServiceServicer_to_server,
        ("join", "poll_round", "expect_update", "submit_update"),
    ),
    Service(
        "OrderService",
        OrderServicer,
        order_service_pb2_grpc.add_OrderServiceServicer_to_server,
        ("info", "offer_order", "order_progress", "watch_order", "final_model"),
    ),
)


class RunningServer:
    """A node that listens."""

    def __init__(self, server: grpc.aio.Server, health_servicer: Any, address: str, services: tuple[str, ...]) -> None:
        self._server = server
        self._health = health_servicer
        self.address = address
        """HOST:PORT that it listens on, with the real port where port 0 was asked for."""
        self.port = split_address(address)[1]
        self.services = services
        """Full names, such as fedcoin.v1.BlockService."""

    async def stop(self, grace: float = 5.0) -> None:
        """Refuses new calls, lets those in flight end for `grace` seconds, then ends them. May be called twice."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        await self._server.wait_for_termination()


def services_of(handler: NodeHandler) -> tuple[Service, ...]:
    """The services that `handler` has the methods for. Raises TypeError if it has only some methods of a service."""
    offered = []
    for service in SERVICES:
        missing = [name for name in service.methods if not callable(getattr(handler, name, None))]
        if not missing:
            offered.append(service)
        elif len(missing) < len(service.methods):
            raise TypeError(f"{type(handler).__name__} lacks {', '.join(missing)} for {service.name}")
    return tuple(offered)


async def serve(
    handler: NodeHandler,
    address: str,
    *,
    tls: ServerTls | None = None,
    limits: Limits | None = None,
    scores: Scores | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RunningServer:
    """Listens on HOST:PORT (port 0: any free one) and delegates to `handler`, until stopped.

    `scores`: where the misbehaviour of callers is booked; its own unless given. `clock`: seconds, monotonic.

    Which services are offered follows from the handler: a MinerHandler's, a ServerHandler's, or NodeService alone.
    Raises InvalidPeerAddress, PortInUse, ListenAddressUnavailable, TlsFilesInvalid.
    """
    limits = limits or Limits()
    host, port = split_address(address)
    credentials = server_credentials(tls) if tls else None
    offered = services_of(handler)
    quiet.install()
    server = grpc.aio.server(
        interceptors=[Guard(limits, Scores(None, clock) if scores is None else scores, clock)],
        options=[*SERVER_OPTIONS, ("grpc.max_allowed_incoming_connections", limits.connections)],
        maximum_concurrent_rpcs=limits.concurrent,
    )
    for service in offered:
        service.register(service.servicer(handler), server)
    names = tuple(f"fedcoin.v1.{service.name}" for service in offered)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    for name in ("", *names):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    _check_free(host, port)
    try:
        bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise ListenAddressUnavailable(f"{address}: this machine cannot listen there ({error})") from error
    await server.start()
    return RunningServer(server, health_servicer, join_address(host, bound), names)


def _check_free(host: str, port: int) -> None:
    """Says why this machine cannot listen there, which gRPC does not. Raises PortInUse, ListenAddressUnavailable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenAddressUnavailable(f"{host} is no address of this machine: {error}") from error
    for family, kind, protocol, _, place in found[:1]:
        with socket.socket(family, kind, protocol) as probe:
            # Without it, the port of a node that has just stopped would count as taken for a minute.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(place)
                probe.listen(1)
            except OSError as error:
                at = join_address(host, port)
                if error.errno == errno.EADDRINUSE:
                    raise PortInUse(
                        f"another program listens on {at}: stop it, or choose another port (0: any free one)"
                    ) from error
                raise ListenAddressUnavailable(f"{at}: this machine cannot listen there: {error.strerror}") from error
