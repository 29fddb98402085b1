"""How much a peer may answer: bytes of one response, by RPC. A caller must not be flooded by whom it asks."""

from __future__ import annotations

from fedcoin.rpc.blobs import CHUNK_BYTES

DEFAULT_ANSWER = 64 * 2**10
"""Bytes of a response at most where nothing else is said."""

_LIST = 8 * 2**20
"""A page ends at 4 MiB, and has one item at least."""
_BLOCK = 16 * 2**20
_CHUNK = CHUNK_BYTES + 2**16

ANSWERS: dict[str, int] = {
    "PeerService/ListPeers": _LIST,
    "PeerService/Announce": 2 * 2**20,
    "PeerService/GetGenesis": _BLOCK,
    "TaskService/ListOpenTasks": _LIST,
    "ShapleyService/ListEstimates": _LIST,
    "ShapleyService/GetLeaves": _LIST,
    "ShapleyService/GetMining": 2**20,
    "BlockService/GetBlock": _BLOCK,
    "BlockService/SyncBlocks": _BLOCK,
    "BlockService/WatchBlocks": _BLOCK,
    "TransactionService/GetTransaction": 2**20,
    "TransactionService/ListAccounts": _LIST,
    "TransactionService/ListHistory": _LIST,
    "TransactionService/ListOrders": _LIST,
    "TransactionService/ListMempool": _LIST,
    "TransactionService/ListFraudCases": _LIST,
    "BlobService/DownloadBlob": _CHUNK,
    "OrderService/GetOrderProgress": _BLOCK,
    "OrderService/WatchOrder": _BLOCK,
    "OrderService/DownloadModel": _CHUNK,
}


def answer_limit(method: str) -> int:
    """Bytes of one response of `method` (/fedcoin.v1.Service/Method) at most."""
    return ANSWERS.get(method.removeprefix("/fedcoin.v1."), DEFAULT_ANSWER)
