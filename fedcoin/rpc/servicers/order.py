"""OrderService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import grpc

from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from fedcoin.core.transaction import Order
from fedcoin.rpc.blobs import chunks
from fedcoin.rpc.convert import exactly, from_field, to_message
from fedcoin.rpc.handlers import ServerHandler
from fedcoin.rpc.servicers.common import check_request_id
from fedcoin.v1 import order_service_pb2 as pb
from fedcoin.v1.order_service_pb2_grpc import OrderServiceServicer


class OrderServicer(OrderServiceServicer):
    """Orders at an FL server."""

    def __init__(self, handler: ServerHandler) -> None:
        self._handler = handler

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetServerInfoResponse:
        """What a requester or client should know of the server."""
        return pb.GetServerInfoResponse(info=to_message(await self._handler.info()))

    async def OfferOrder(
        self, request: pb.OfferOrderRequest, context: grpc.aio.ServicerContext
    ) -> pb.OfferOrderResponse:
        """Would the server run this order?"""
        check_request_id(request)
        await self._handler.offer_order(from_field(Order, request, "order"))
        return pb.OfferOrderResponse()

    async def GetOrderProgress(
        self, request: pb.GetOrderProgressRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetOrderProgressResponse:
        """Where an order stands."""
        order_id = exactly(request.order_id, HASH_SIZE, "order_id")
        return pb.GetOrderProgressResponse(progress=to_message(await self._handler.order_progress(order_id)))

    async def WatchOrder(
        self, request: pb.WatchOrderRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WatchOrderResponse]:
        """Each change until the order has ended."""
        async for progress in self._handler.watch_order(exactly(request.order_id, HASH_SIZE, "order_id")):
            yield pb.WatchOrderResponse(progress=to_message(progress))

    async def DownloadModel(
        self, request: pb.DownloadModelRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.DownloadModelResponse]:
        """Digest and size, then bytes, for the requester only."""
        data = await self._handler.final_model(
            exactly(request.order_id, HASH_SIZE, "order_id"),
            exactly(request.public_key, PUBLIC_KEY_SIZE, "public_key"),
            request.requested_at,
            exactly(request.signature, SIGNATURE_SIZE, "signature"),
        )
        header = pb.ModelHeader(digest=hashlib.sha256(data).digest(), size=len(data))
        yield pb.DownloadModelResponse(header=header)
        for chunk in chunks(data):
            yield pb.DownloadModelResponse(chunk=chunk)
