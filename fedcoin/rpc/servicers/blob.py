"""BlobService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from fedcoin.core.encoding import HASH_SIZE
from fedcoin.rpc.blobs import Assembly, chunks
from fedcoin.rpc.convert import exactly
from fedcoin.rpc.handlers import BlobHandler
from fedcoin.rpc.servicers.common import upload
from fedcoin.v1 import blob_service_pb2 as pb
from fedcoin.v1.blob_service_pb2_grpc import BlobServiceServicer


class BlobServicer(BlobServiceServicer):
    """Content-addressed blobs."""

    def __init__(self, handler: BlobHandler) -> None:
        self._handler = handler

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
        data = await self._handler.get_blob(exactly(request.digest, HASH_SIZE, "digest"))
        yield pb.DownloadBlobResponse(size=len(data))
        for chunk in chunks(data):
            yield pb.DownloadBlobResponse(chunk=chunk)

    async def UploadBlob(
        self, requests: AsyncIterator[pb.UploadBlobRequest], context: grpc.aio.ServicerContext
    ) -> pb.UploadBlobResponse:
        """Takes in a blob."""
        limit = await self._handler.max_blob_bytes()
        digest = b""

        def begin(header: Any) -> Assembly:
            nonlocal digest
            digest = exactly(header.digest, HASH_SIZE, "digest")
            return Assembly(digest, header.size, limit)

        data = await upload(requests, begin)
        await self._handler.put_blob(digest, data)
        return pb.UploadBlobResponse()
