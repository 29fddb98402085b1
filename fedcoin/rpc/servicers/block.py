"""BlockService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc

from fedcoin.core.block import Block
from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.errors import MalformedEncoding
from fedcoin.rpc.convert import exactly, from_field, to_message
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.servicers.common import check_request_id, source_of
from fedcoin.v1 import block_service_pb2 as pb
from fedcoin.v1.block_service_pb2_grpc import BlockServiceServicer

MAX_LOCATOR = 128
DEFAULT_SYNC = 1000
MAX_SYNC = 10_000


class BlockServicer(BlockServiceServicer):
    """Blocks."""

    def __init__(self, handler: MinerHandler) -> None:
        self._handler = handler

    async def PropagateBlock(
        self, request: pb.PropagateBlockRequest, context: grpc.aio.ServicerContext
    ) -> pb.PropagateBlockResponse:
        """Alg. 1 line 23: takes in a block."""
        check_request_id(request)
        await self._handler.receive_block(from_field(Block, request, "block"), source_of(context))
        return pb.PropagateBlockResponse()

    async def GetBlock(self, request: pb.GetBlockRequest, context: grpc.aio.ServicerContext) -> pb.GetBlockResponse:
        """A block by hash or height; the tip with neither."""
        selector = request.WhichOneof("selector")
        block_hash = exactly(request.hash, HASH_SIZE, "hash") if selector == "hash" else None
        height = request.height if selector == "height" else None
        return pb.GetBlockResponse(block=to_message(await self._handler.block(block_hash, height)))

    async def SyncBlocks(
        self, request: pb.SyncBlocksRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.SyncBlocksResponse]:
        """Adopted blocks that follow the caller's."""
        if len(request.locator) > MAX_LOCATOR:
            raise MalformedEncoding(f"a locator of {len(request.locator)} hashes; at most {MAX_LOCATOR} are taken")
        locator = tuple(exactly(item, HASH_SIZE, "locator") for item in request.locator)
        left = min(request.limit or DEFAULT_SYNC, MAX_SYNC)
        async for block in self._handler.blocks_after(locator, left):
            yield pb.SyncBlocksResponse(block=to_message(block))

    async def WatchBlocks(
        self, request: pb.WatchBlocksRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WatchBlocksResponse]:
        """Adopted blocks from a height on, without end."""
        async for block in self._handler.watch_blocks(request.from_height):
            yield pb.WatchBlocksResponse(block=to_message(block))
