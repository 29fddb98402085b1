"""An FL server as seen over the wire, by its clients and by requesters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from fedcoin.core.errors import BlobMismatch
from fedcoin.core.task import UpdateCommitment
from fedcoin.core.transaction import Order
from fedcoin.rpc.blobs import Assembly, chunks
from fedcoin.rpc.client import BlobClient
from fedcoin.rpc.convert import exactly, from_field, to_message
from fedcoin.rpc.views import OrderProgress, RoundOffer, ServerInfo
from fedcoin.v1 import order_service_pb2 as order_pb
from fedcoin.v1 import training_service_pb2 as training_pb
from fedcoin.v1.order_service_pb2_grpc import OrderServiceStub
from fedcoin.v1.training_service_pb2_grpc import TrainingServiceStub


class ServerClient(BlobClient):
    """Implements ServerHandler over the wire; raises what the server raises, PeerUnreachable if it does not answer."""

    # --- for requesters ----------------------------------------------------------------------------------------------

    async def info(self) -> ServerInfo:
        """What a requester or client should know of the server."""
        response = await self.unary(self.stub(OrderServiceStub).GetServerInfo, order_pb.GetServerInfoRequest())
        return from_field(ServerInfo, response, "info")

    async def offer_order(self, order: Order) -> None:
        """Before the deposit: would the server run it? Raises OrderRefused with the reason."""
        request = order_pb.OfferOrderRequest(order=to_message(order))
        await self.unary(self.stub(OrderServiceStub).OfferOrder, request)

    async def order_progress(self, order_id: bytes) -> OrderProgress:
        """Where an order stands."""
        request = order_pb.GetOrderProgressRequest(order_id=order_id)
        response = await self.unary(self.stub(OrderServiceStub).GetOrderProgress, request)
        return from_field(OrderProgress, response, "progress")

    async def watch_order(self, order_id: bytes) -> AsyncIterator[OrderProgress]:
        """Each change until the order has ended."""
        request = order_pb.WatchOrderRequest(order_id=order_id)
        async for response in self.stream(self.stub(OrderServiceStub).WatchOrder, request, seconds=None, idle=None):
            yield from_field(OrderProgress, response, "progress")

    async def final_model(self, order_id: bytes, public_key: bytes, requested_at: int, signature: bytes) -> bytes:
        """The trained model, its SHA-256 checked. Raises NotTheRequester, ModelNotReady, BlobTooLarge, BlobMismatch."""

        def begin(piece: Any) -> Assembly:
            if piece.WhichOneof("piece") != "header":
                raise BlobMismatch(f"{self.address} sends bytes before it says a size")
            return Assembly(exactly(piece.header.digest, 32, "digest"), piece.header.size, self.blob_limit)

        request = order_pb.DownloadModelRequest(
            order_id=order_id, public_key=public_key, requested_at=requested_at, signature=signature
        )
        return await self.download(self.transfer(self.stub(OrderServiceStub).DownloadModel, request), begin)

    # --- for FL clients ----------------------------------------------------------------------------------------------

    async def join(self, public_key: bytes, samples: int, joined_at: int, signature: bytes) -> None:
        """Joins, or says that the client is still there."""
        request = training_pb.JoinRequest(
            public_key=public_key, samples=samples, joined_at=joined_at, signature=signature
        )
        await self.unary(self.stub(TrainingServiceStub).Join, request)

    async def poll_round(self, public_key: bytes, wait_seconds: float) -> RoundOffer | None:
        """The round this client is selected for and has not handed in yet; waits that long at most for one."""
        request = training_pb.PollRoundRequest(public_key=public_key, wait_seconds=wait_seconds)
        seconds = self.deadlines.call + wait_seconds
        response = await self.unary(self.stub(TrainingServiceStub).PollRound, request, seconds)
        return from_field(RoundOffer, response, "offer") if response.HasField("offer") else None

    async def submit_update(
        self, commitment: UpdateCommitment, public_key: bytes, signature: bytes, data: bytes
    ) -> None:
        """Hands in a trained update, as safetensors. Handing in the same again is accepted."""

        def messages() -> Iterator[training_pb.SubmitUpdateRequest]:
            header = training_pb.UpdateHeader(
                commitment=to_message(commitment), public_key=public_key, signature=signature, size=len(data)
            )
            yield training_pb.SubmitUpdateRequest(header=header)
            for chunk in chunks(data):
                yield training_pb.SubmitUpdateRequest(chunk=chunk)

        await self.upload(self.stub(TrainingServiceStub).SubmitUpdate, messages)
