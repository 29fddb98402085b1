"""PeerService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

import grpc

from fedcoin.core.errors import InvalidPeerAddress
from fedcoin.core.keys import PUBLIC_KEY_SIZE
from fedcoin.rpc.address import is_address
from fedcoin.rpc.convert import exactly, to_message
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.limits import peer_key
from fedcoin.rpc.paging import MAX_PAGE, offset_page
from fedcoin.rpc.views import NONCE_SIZE
from fedcoin.v1 import peer_service_pb2 as pb
from fedcoin.v1.peer_service_pb2_grpc import PeerServiceServicer


class PeerServicer(PeerServiceServicer):
    """Peers and the genesis."""

    def __init__(self, handler: MinerHandler) -> None:
        self._handler = handler

    async def ListPeers(self, request: pb.ListPeersRequest, context: grpc.aio.ServicerContext) -> pb.ListPeersResponse:
        """One page of the miners that the node knows."""
        response = pb.ListPeersResponse()
        peers = await self._handler.peers()
        response.next_page_token = offset_page(request, "peers", b"", peers, to_message, response.peers)
        return response

    async def Announce(self, request: pb.AnnounceRequest, context: grpc.aio.ServicerContext) -> pb.AnnounceResponse:
        """A peer says where it listens. Raises InvalidPeerAddress."""
        if not is_address(request.address):
            raise InvalidPeerAddress
        key = exactly(request.public_key, PUBLIC_KEY_SIZE, "public_key")
        peers = await self._handler.announce(request.address, key, peer_key(context.peer()))
        return pb.AnnounceResponse(peers=map(to_message, peers[:MAX_PAGE]))

    async def Prove(self, request: pb.ProveRequest, context: grpc.aio.ServicerContext) -> pb.ProveResponse:
        """The node shows that it holds its key. Raises MalformedEncoding."""
        address, signature = await self._handler.prove(exactly(request.nonce, NONCE_SIZE, "nonce"))
        return pb.ProveResponse(address=address, signature=signature)

    async def GetGenesis(
        self, request: pb.GetGenesisRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetGenesisResponse:
        """The genesis of the node's chain."""
        return pb.GetGenesisResponse(genesis=to_message(await self._handler.genesis()))
