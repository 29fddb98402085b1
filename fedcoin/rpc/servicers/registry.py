"""RegistryService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

import grpc

from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.keys import PUBLIC_KEY_SIZE
from fedcoin.rpc.convert import exactly_or_empty, to_message
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.paging import fill_page, make_token, page_size, read_token
from fedcoin.v1 import registry_service_pb2 as pb
from fedcoin.v1.registry_service_pb2_grpc import RegistryServiceServicer


class RegistryServicer(RegistryServiceServicer):
    """Miners with their bonds, and what they are accused of."""

    def __init__(self, handler: MinerHandler) -> None:
        self._handler = handler

    async def ListMiners(
        self, request: pb.ListMinersRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListMinersResponse:
        """One page of the miners, in order of public key."""
        after = exactly_or_empty(request.after, PUBLIC_KEY_SIZE, "after")
        place = read_token(request.page_token, "miners", after, PUBLIC_KEY_SIZE)
        count = page_size(request.page_size)
        found = await self._handler.miners(after if place is None else place, count + 1)
        response = pb.ListMinersResponse()
        taken = fill_page(response.miners, map(to_message, found), count)
        if taken < len(found):
            response.next_page_token = make_token("miners", after, found[taken - 1].public_key)
        return response

    async def ListFraudCases(
        self, request: pb.ListFraudCasesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListFraudCasesResponse:
        """One page of the fraud cases, in order of id."""
        after = exactly_or_empty(request.after, HASH_SIZE, "after")
        place = read_token(request.page_token, "fraud cases", after, HASH_SIZE)
        count = page_size(request.page_size)
        found = await self._handler.fraud_cases(after if place is None else place, count + 1)
        response = pb.ListFraudCasesResponse()
        taken = fill_page(response.cases, map(to_message, found), count)
        if taken < len(found):
            response.next_page_token = make_token("fraud cases", after, found[taken - 1].case_id)
        return response
