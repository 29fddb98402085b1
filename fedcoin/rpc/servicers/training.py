"""TrainingService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc

from fedcoin.core.errors import MalformedEncoding
from fedcoin.core.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from fedcoin.core.task import UpdateCommitment
from fedcoin.rpc.blobs import Assembly
from fedcoin.rpc.budget import Budget
from fedcoin.rpc.convert import exactly, from_field, to_message
from fedcoin.rpc.handlers import UpdateKeeper
from fedcoin.rpc.limits import MAX_WAIT_SECONDS
from fedcoin.rpc.servicers.common import upload
from fedcoin.v1 import training_service_pb2 as pb
from fedcoin.v1.training_service_pb2_grpc import TrainingServiceServicer


class TrainingServicer(TrainingServiceServicer):
    """Training rounds."""

    def __init__(self, handler: UpdateKeeper) -> None:
        self._handler = handler
        self._memory = Budget()

    async def Join(self, request: pb.JoinRequest, context: grpc.aio.ServicerContext) -> pb.JoinResponse:
        """A client joins, or says that it is still there."""
        key, signature = _signed(request)
        await self._handler.join(key, request.samples, request.joined_at, signature)
        return pb.JoinResponse()

    async def PollRound(self, request: pb.PollRoundRequest, context: grpc.aio.ServicerContext) -> pb.PollRoundResponse:
        """The round that a client is selected for."""
        if not math.isfinite(request.wait_seconds) or request.wait_seconds < 0:
            raise MalformedEncoding(
                f"wait_seconds is {request.wait_seconds}, not a number from 0 to {MAX_WAIT_SECONDS:g}"
            )
        key = exactly(request.public_key, PUBLIC_KEY_SIZE, "public_key")
        offer = await self._handler.poll_round(key, min(request.wait_seconds, MAX_WAIT_SECONDS))
        return pb.PollRoundResponse(offer=None if offer is None else to_message(offer))

    async def SubmitUpdate(
        self, requests: AsyncIterator[pb.SubmitUpdateRequest], context: grpc.aio.ServicerContext
    ) -> pb.SubmitUpdateResponse:
        """Takes in a trained update."""
        limit = await self._handler.max_blob_bytes()
        parts: tuple[UpdateCommitment, bytes, bytes] | None = None

        async def begin(header: Any) -> Assembly | None:
            nonlocal parts
            commitment = from_field(UpdateCommitment, header, "commitment")
            parts = (commitment, *_signed(header))
            needed = await self._handler.expect_update(*parts, header.size)
            if not needed:
                return None
            assembly = Assembly(commitment.digest, header.size, limit)
            await memory.enter_async_context(self._memory.take(header.size))
            return assembly

        async with AsyncExitStack() as memory:
            data = await upload(requests, begin)
            if data is not None:
                assert parts is not None  # upload has called begin, or raised
                await self._handler.submit_update(*parts, data)
        return pb.SubmitUpdateResponse()


def _signed(request: Any) -> tuple[bytes, bytes]:
    return (
        exactly(request.public_key, PUBLIC_KEY_SIZE, "public_key"),
        exactly(request.signature, SIGNATURE_SIZE, "signature"),
    )
