"""ShapleyService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

import grpc

from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.errors import MalformedEncoding
from fedcoin.core.estimate import Estimate
from fedcoin.core.keys import PUBLIC_KEY_SIZE
from fedcoin.core.params import MAX_ITERATIONS
from fedcoin.rpc.convert import exactly, exactly_or_empty, from_field, to_message
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.paging import offset_page
from fedcoin.rpc.servicers.common import check_request_id, source_of
from fedcoin.v1 import shapley_service_pb2 as pb
from fedcoin.v1.shapley_service_pb2_grpc import ShapleyServiceServicer

MAX_LEAVES_A_CALL = 1024


class ShapleyServicer(ShapleyServiceServicer):
    """Estimates, their leaves, and the progress of mining."""

    def __init__(self, handler: MinerHandler) -> None:
        self._handler = handler

    async def SendEstimate(
        self, request: pb.SendEstimateRequest, context: grpc.aio.ServicerContext
    ) -> pb.SendEstimateResponse:
        """Alg. 1 line 15: takes in an estimate."""
        check_request_id(request)
        await self._handler.receive_estimate(from_field(Estimate, request, "estimate"), source_of(context))
        return pb.SendEstimateResponse()

    async def ListEstimates(
        self, request: pb.ListEstimatesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListEstimatesResponse:
        """One page of the latest estimates of a race."""
        race = exactly_or_empty(request.race, HASH_SIZE, "race")
        response = pb.ListEstimatesResponse()
        estimates = await self._handler.estimates(race)
        response.next_page_token = offset_page(request, "estimates", race, estimates, to_message, response.estimates)
        return response

    async def GetLeaves(self, request: pb.GetLeavesRequest, context: grpc.aio.ServicerContext) -> pb.GetLeavesResponse:
        """Leaves by index, with Merkle paths."""
        race, miner = _whose(request)
        if not 0 < len(request.indices) <= MAX_LEAVES_A_CALL:
            raise MalformedEncoding(f"{len(request.indices)} leaves are asked for; 1 to {MAX_LEAVES_A_CALL} may be")
        if request.tree_size > MAX_ITERATIONS or max(request.indices) >= request.tree_size:
            raise MalformedEncoding(f"a tree of {request.tree_size} leaves has no leaf {max(request.indices)}")
        proofs = await self._handler.leaves(race, miner, request.tree_size, tuple(request.indices))
        return pb.GetLeavesResponse(leaves=map(to_message, proofs))

    async def GetMining(self, request: pb.GetMiningRequest, context: grpc.aio.ServicerContext) -> pb.GetMiningResponse:
        """Where the node's own race stands."""
        return pb.GetMiningResponse(progress=to_message(await self._handler.mining()))


def _whose(request: pb.GetLeavesRequest) -> tuple[bytes, bytes]:
    return exactly(request.race, HASH_SIZE, "race"), exactly(request.miner, PUBLIC_KEY_SIZE, "miner")
