"""NodeService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

import grpc

from fedcoin.rpc.convert import to_message
from fedcoin.rpc.handlers import NodeHandler
from fedcoin.v1 import node_service_pb2 as pb
from fedcoin.v1.node_service_pb2_grpc import NodeServiceServicer


class NodeServicer(NodeServiceServicer):
    """Who the node is."""

    def __init__(self, handler: NodeHandler) -> None:
        self._handler = handler

    async def GetStatus(self, request: pb.GetStatusRequest, context: grpc.aio.ServicerContext) -> pb.GetStatusResponse:
        """The node's status."""
        return pb.GetStatusResponse(status=to_message(await self._handler.status()))
