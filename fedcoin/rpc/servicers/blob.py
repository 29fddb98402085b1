"""BlobService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc

from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.errors import BlobNotFound
from fedcoin.rpc.blobs import CHUNK_BYTES, Assembly, chunks
from fedcoin.rpc.budget import Budget
from fedcoin.rpc.convert import exactly
from fedcoin.rpc.handlers import BlobKeeper
from fedcoin.rpc.servicers.common import upload
from fedcoin.v1 import blob_service_pb2 as pb
from fedcoin.v1.blob_service_pb2_grpc import BlobServiceServicer


class BlobServicer(BlobServiceServicer):
    """Content-addressed blobs."""

    def __init__(self, handler: BlobKeeper) -> None:
        self._handler = handler
        self._memory = Budget()

    async def StatBlob(self, request: pb.StatBlobRequest, context: grpc.aio.ServicerContext) -> pb.StatBlobResponse:
        """Whether a blob is held, and its size."""
        size = await self._handler.blob_size(exactly(request.digest, HASH_SIZE, "digest"))
        return pb.StatBlobResponse(held=size is not None, size=size or 0)

    async def GetBlobLimit(
        self, request: pb.GetBlobLimitRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetBlobLimitResponse:
        """The largest blob that the node takes."""
        return pb.GetBlobLimitResponse(max_blob_bytes=await self._handler.max_blob_bytes())

    async def DownloadBlob(
        self, request: pb.DownloadBlobRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.DownloadBlobResponse]:
        """Size, then bytes."""
        digest = exactly(request.digest, HASH_SIZE, "digest")
        size = await self._handler.blob_size(digest)
        if size is None:
            raise BlobNotFound(f"this node does not hold blob {digest.hex()}")
        yield pb.DownloadBlobResponse(size=size)
        start = 0
        while start < size:
            # Read as it is sent: a caller that does not read must not make us hold whole blobs.
            async with self._memory.take(CHUNK_BYTES):
                part = await self._handler.blob_part(digest, start)
                start += len(part)
                for chunk in chunks(part):
                    yield pb.DownloadBlobResponse(chunk=chunk)

    async def UploadBlob(
        self, requests: AsyncIterator[pb.UploadBlobRequest], context: grpc.aio.ServicerContext
    ) -> pb.UploadBlobResponse:
        """Takes in a blob."""
        limit = await self._handler.max_blob_bytes()
        digest = b""

        async def begin(header: Any) -> Assembly | None:
            nonlocal digest
            digest = exactly(header.digest, HASH_SIZE, "digest")
            needed = await self._handler.expect_blob(digest, header.size)
            if not needed:
                return None
            assembly = Assembly(digest, header.size, limit)
            await memory.enter_async_context(self._memory.take(header.size))
            return assembly

        async with AsyncExitStack() as memory:
            data = await upload(requests, begin)
            if data is not None:
                await self._handler.put_blob(digest, data)
        return pb.UploadBlobResponse()
