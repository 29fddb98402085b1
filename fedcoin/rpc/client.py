"""What can be asked of every role: its status, and blobs where it serves them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar

from fedcoin.core.errors import BlobMismatch, MalformedEncoding
from fedcoin.rpc.blobs import Assembly, chunks
from fedcoin.rpc.calls import Caller, Deadlines, Retry
from fedcoin.rpc.convert import from_field, from_message
from fedcoin.rpc.tls import ClientTls
from fedcoin.rpc.views import NodeStatus
from fedcoin.v1 import blob_service_pb2, node_service_pb2
from fedcoin.v1.blob_service_pb2_grpc import BlobServiceStub
from fedcoin.v1.node_service_pb2_grpc import NodeServiceStub

T = TypeVar("T")

DEFAULT_BLOB_LIMIT = 256 * 2**20
"""Bytes of a downloaded blob at most, unless the caller says otherwise."""
PAGE_ITEMS = 1000
SPARE_PAGES = 64
"""Pages beyond those that a list's items fill: they end early where items are large. A peer that never ends a list
does not hold us."""
LIST_BYTES = 256 * 2**20
"""Bytes of one list at most, unless the caller says otherwise."""


class NodeClient(Caller):
    """A node of any role. Implements NodeHandler over the wire."""

    async def status(self) -> NodeStatus:
        """Who the peer is and where its chain stands."""
        response = await self.unary(self.stub(NodeServiceStub).GetStatus, node_service_pb2.GetStatusRequest())
        return from_field(NodeStatus, response, "status")

    async def listed(
        self,
        kind: type[T],
        call: Callable[..., Any],
        request: Any,
        field: str,
        limit: int,
        most_bytes: int = LIST_BYTES,
    ) -> Sequence[T]:
        """Up to `limit` items of a paged list, from as many pages as it takes.

        Raises MalformedEncoding if they have more than `most_bytes`, or are not what was asked for.
        """
        found: list[T] = []
        left = most_bytes
        for _ in range(limit // PAGE_ITEMS + SPARE_PAGES):
            request.page_size = min(PAGE_ITEMS, limit - len(found))
            if request.page_size <= 0:
                break
            response = await self.unary(call, request)
            left -= response.ByteSize()
            if left < 0:
                raise MalformedEncoding(f"{self.address} answers with more than {most_bytes} bytes of {field}")
            page = getattr(response, field)
            if len(page) > request.page_size:
                raise MalformedEncoding(f"{self.address} answers with a page larger than asked for")
            found += [from_message(kind, item) for item in page]
            request.page_token = response.next_page_token
            if not response.next_page_token:
                break
        return found

    async def download(self, pieces: AsyncIterator[Any], begin: Callable[[Any], Assembly]) -> bytes:
        """Bytes that arrive as a first piece, which `begin` judges, and chunks. Raises BlobTooLarge, BlobMismatch."""
        assembly: Assembly | None = None
        async for piece in pieces:
            if assembly is None:
                assembly = begin(piece)
            elif piece.WhichOneof("piece") == "chunk":
                assembly.add(piece.chunk)
            else:
                raise BlobMismatch(f"{self.address} announces a size twice")
        if assembly is None:
            raise BlobMismatch(f"{self.address} ends the transfer before it says a size")
        return assembly.finish()


class BlobClient(NodeClient):
    """A node that serves blobs. Implements BlobHandler over the wire."""

    def __init__(
        self,
        address: str,
        *,
        tls: ClientTls | None = None,
        own_address: str | None = None,
        deadlines: Deadlines | None = None,
        retry: Retry | None = None,
        blob_limit: int = DEFAULT_BLOB_LIMIT,
    ) -> None:
        """Connects at the first call.

        `address`: HOST:PORT. `own_address`: where the caller listens itself, told to the peer. `blob_limit`: bytes of a
        downloaded blob at most.
        """
        super().__init__(address, tls=tls, own_address=own_address, deadlines=deadlines, retry=retry)
        self.blob_limit = blob_limit

    async def blob_size(self, digest: bytes) -> int | None:
        """Bytes of the blob, or None where the peer does not hold it."""
        request = blob_service_pb2.StatBlobRequest(digest=digest)
        response = await self.unary(self.stub(BlobServiceStub).StatBlob, request)
        return int(response.size) if response.held else None

    async def max_blob_bytes(self) -> int:
        """The largest blob that the peer takes, in bytes."""
        response = await self.unary(self.stub(BlobServiceStub).GetBlobLimit, blob_service_pb2.GetBlobLimitRequest())
        return int(response.max_blob_bytes)

    async def get_blob(self, digest: bytes, limit: int | None = None) -> bytes:
        """The blob, its SHA-256 checked. `limit`: bytes at most, otherwise the client's blob_limit.

        Raises BlobNotFound, BlobTooLarge, BlobMismatch.
        """
        most = self.blob_limit if limit is None else limit

        def begin(piece: Any) -> Assembly:
            if piece.WhichOneof("piece") != "size":
                raise BlobMismatch(f"{self.address} sends bytes before it says a size")
            return Assembly(digest, piece.size, most)

        request = blob_service_pb2.DownloadBlobRequest(digest=digest)
        return await self.download(self.transfer(self.stub(BlobServiceStub).DownloadBlob, request), begin)

    async def put_blob(self, digest: bytes, data: bytes) -> None:
        """Hands a blob in. Raises BlobMismatch, BlobTooLarge, BlobNotWanted."""

        def messages() -> Iterator[blob_service_pb2.UploadBlobRequest]:
            header = blob_service_pb2.BlobHeader(digest=digest, size=len(data))
            yield blob_service_pb2.UploadBlobRequest(header=header)
            for chunk in chunks(data):
                yield blob_service_pb2.UploadBlobRequest(chunk=chunk)

        await self.upload(self.stub(BlobServiceStub).UploadBlob, messages)

    def transfer(self, call: Callable[..., Any], request: Any) -> AsyncIterator[Any]:
        """A stream of responses that ends, under the deadlines of transfers."""
        return self.stream(call, request, seconds=self.deadlines.transfer, idle=self.deadlines.idle)
