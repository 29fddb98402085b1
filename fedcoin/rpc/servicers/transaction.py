"""TransactionService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

import struct

import grpc

from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.errors import MalformedEncoding
from fedcoin.core.keys import ADDRESS_SIZE
from fedcoin.core.transaction import Transaction
from fedcoin.rpc.convert import exactly, exactly_or_empty, from_field, from_message, to_message
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.limits import MAX_RELAYED
from fedcoin.rpc.paging import MAX_PAGE, fill_page, make_token, offset_page, page_size, read_token
from fedcoin.rpc.servicers.common import check_request_id, source_of
from fedcoin.v1 import transaction_service_pb2 as pb
from fedcoin.v1.transaction_service_pb2_grpc import TransactionServiceServicer

_POSITION = struct.Struct(">QI")
MAX_MEMPOOL = 100_000


class TransactionServicer(TransactionServiceServicer):
    """The ledger."""

    def __init__(self, handler: MinerHandler) -> None:
        self._handler = handler

    async def SubmitTransaction(
        self, request: pb.SubmitTransactionRequest, context: grpc.aio.ServicerContext
    ) -> pb.SubmitTransactionResponse:
        """Takes in a transaction."""
        check_request_id(request)
        transaction = from_field(Transaction, request, "transaction")
        return pb.SubmitTransactionResponse(transaction_id=await self._handler.submit(transaction, source_of(context)))

    async def PropagateTransactions(
        self, request: pb.PropagateTransactionsRequest, context: grpc.aio.ServicerContext
    ) -> pb.PropagateTransactionsResponse:
        """Takes in what a peer relays."""
        check_request_id(request)
        if len(request.transactions) > MAX_RELAYED:
            raise MalformedEncoding(
                f"{len(request.transactions)} transactions; at most {MAX_RELAYED} are relayed at once"
            )
        transactions = [from_message(Transaction, message) for message in request.transactions]
        refused = await self._handler.receive_transactions(transactions, source_of(context))
        return pb.PropagateTransactionsResponse(
            refused=[pb.RefusedTransaction(index=index, reason=code) for index, code in sorted(refused.items())]
        )

    async def GetTransaction(
        self, request: pb.GetTransactionRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetTransactionResponse:
        """A transaction and where it stands."""
        transaction_id = exactly(request.transaction_id, HASH_SIZE, "transaction_id")
        return pb.GetTransactionResponse(info=to_message(await self._handler.transaction(transaction_id)))

    async def GetAccount(
        self, request: pb.GetAccountRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetAccountResponse:
        """An account at the tip."""
        address = exactly(request.address, ADDRESS_SIZE, "address")
        return pb.GetAccountResponse(account=to_message(await self._handler.account(address)))

    async def ListAccounts(
        self, request: pb.ListAccountsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListAccountsResponse:
        """One page of the accounts, in order of address."""
        after = exactly_or_empty(request.after, ADDRESS_SIZE, "after")
        place = read_token(request.page_token, "accounts", after, ADDRESS_SIZE)
        count = page_size(request.page_size)
        found = await self._handler.accounts(after if place is None else place, count + 1)
        response = pb.ListAccountsResponse()
        taken = fill_page(response.accounts, map(to_message, found), count)
        if taken < len(found):
            response.next_page_token = make_token("accounts", after, found[taken - 1].address)
        return response

    async def ListHistory(
        self, request: pb.ListHistoryRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListHistoryResponse:
        """One page of the movements on an account, newest first."""
        address = exactly(request.address, ADDRESS_SIZE, "address")
        before = (request.before.height, request.before.index) if request.HasField("before") else None
        condition = address + (_POSITION.pack(*before) if before else b"")
        place = read_token(request.page_token, "history", condition, _POSITION.size)
        if place is not None:
            height, index = _POSITION.unpack(place)
            before = (height, index)
        count = page_size(request.page_size)
        found = await self._handler.history(address, before, count + 1)
        response = pb.ListHistoryResponse()
        taken = fill_page(response.entries, map(to_message, found), count)
        if taken < len(found):
            last = found[taken - 1]
            response.next_page_token = make_token("history", condition, _POSITION.pack(last.height, last.index))
        return response

    async def GetOrder(self, request: pb.GetOrderRequest, context: grpc.aio.ServicerContext) -> pb.GetOrderResponse:
        """An order at the tip."""
        order_id = exactly(request.order_id, HASH_SIZE, "order_id")
        return pb.GetOrderResponse(order=to_message(await self._handler.order(order_id)))

    async def ListOrders(
        self, request: pb.ListOrdersRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListOrdersResponse:
        """One page of the orders, in order of id."""
        after = exactly_or_empty(request.after, HASH_SIZE, "after")
        place = read_token(request.page_token, "orders", after, HASH_SIZE)
        count = page_size(request.page_size)
        found = await self._handler.orders(after if place is None else place, count + 1)
        response = pb.ListOrdersResponse()
        taken = fill_page(response.orders, map(to_message, found), count)
        if taken < len(found):
            response.next_page_token = make_token("orders", after, found[taken - 1].order_id)
        return response

    async def ListMempool(
        self, request: pb.ListMempoolRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListMempoolResponse:
        """One page of the transactions that wait for a block."""
        place = read_token(request.page_token, "mempool", b"", 4)
        start = int.from_bytes(place, "big") if place is not None else 0
        waiting = await self._handler.mempool(min(start + MAX_PAGE + 1, MAX_MEMPOOL))
        response = pb.ListMempoolResponse()
        response.next_page_token = offset_page(request, "mempool", b"", waiting, to_message, response.transactions)
        return response
