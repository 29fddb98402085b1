"""What a role must be able to do, as its servicers see it.

The clients in `fedcoin.rpc` implement the same protocols over the wire, so a caller need not know whether it talks to
an
object in its own process or to a peer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from fedcoin.core.block import Block
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.genesis import Genesis
from fedcoin.core.task import Task, UpdateCommitment
from fedcoin.core.transaction import Order, Transaction
from fedcoin.rpc.views import (
    AccountInfo,
    FraudCaseInfo,
    HistoryEntry,
    MinerInfo,
    MiningProgress,
    NodeStatus,
    OrderInfo,
    OrderProgress,
    PeerInfo,
    RoundOffer,
    ServerInfo,
    TaskTerms,
    TransactionInfo,
)


class BlobHandler(Protocol):
    """Content-addressed blobs, by SHA-256 digest."""

    async def blob_size(self, digest: bytes) -> int | None:
        """Bytes of the blob, or None where it is not held."""

    async def get_blob(self, digest: bytes) -> bytes:
        """The blob. Raises BlobNotFound."""

    async def put_blob(self, digest: bytes, data: bytes) -> None:
        """Keeps a blob that this node has a use for. Raises BlobMismatch, BlobTooLarge, BlobNotWanted."""

    async def max_blob_bytes(self) -> int:
        """Limit for uploads, checked while chunks arrive."""


class BlobKeeper(BlobHandler, Protocol):
    """A node that keeps blobs, and judges them before it takes memory for them."""

    async def blob_part(self, digest: bytes, start: int) -> bytes:
        """Bytes of the blob from `start` on, as many as are handed out at once. Raises BlobNotFound."""

    async def expect_blob(self, digest: bytes, size: int) -> bool:
        """Whether a blob that is about to be handed in is still needed. Raises BlobTooLarge, BlobNotWanted."""


class NodeHandler(Protocol):
    """Every role."""

    async def status(self) -> NodeStatus: ...


class MinerHandler(NodeHandler, BlobHandler, Protocol):
    """A full node."""

    async def genesis(self) -> Genesis: ...
    async def peers(self) -> Sequence[PeerInfo]: ...
    async def announce(self, address: str, public_key: bytes, caller: str = "") -> Sequence[PeerInfo]:
        """A peer says where it listens; the answer is whom we know. `caller`: whom the call has come from."""

    async def prove(self, nonce: bytes) -> tuple[str, bytes]:
        """Where we are reached, and our signature over it and the caller's nonce."""

    async def mining(self) -> MiningProgress: ...

    async def task_terms(self) -> TaskTerms: ...
    async def publish_task(self, task: Task, source: str | None) -> bytes:
        """Returns the task's hash."""

    async def open_tasks(self) -> Sequence[Task]: ...

    async def receive_estimate(self, estimate: Estimate, source: str | None) -> None: ...
    async def estimates(self, race: bytes) -> Sequence[Estimate]:
        """Latest estimate of each miner in the race (empty: in the current race)."""

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        """Leaves with Merkle paths in the tree of the first `tree_size` leaves. Raises LeavesNotFound."""

    async def receive_block(self, block: Block, source: str | None) -> None: ...
    async def block(self, block_hash: bytes | None, height: int | None) -> Block:
        """By hash, or by height on the adopted chain; neither: the tip. Raises BlockNotFound."""

    def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        """Adopted blocks that follow the first hash of the locator that is on our chain (the genesis otherwise)."""

    def watch_blocks(self, from_height: int) -> AsyncIterator[Block]:
        """Adopted blocks from a height on, and each new tip as it is adopted, without end."""

    async def submit(self, transaction: Transaction, source: str | None) -> bytes:
        """Returns the transaction's id."""

    async def receive_transactions(self, transactions: Sequence[Transaction], source: str | None) -> Mapping[int, str]:
        """What a peer relays. Returns the error codes of those that were not taken in, by index."""

    async def transaction(self, transaction_id: bytes) -> TransactionInfo: ...
    async def account(self, address: bytes) -> AccountInfo: ...
    async def accounts(self, after: bytes, limit: int) -> Sequence[AccountInfo]:
        """In order of address, those above `after`."""

    async def history(self, address: bytes, before: tuple[int, int] | None, limit: int) -> Sequence[HistoryEntry]:
        """Newest first, those before (height, index)."""

    async def order(self, order_id: bytes) -> OrderInfo: ...
    async def orders(self, after: bytes, limit: int) -> Sequence[OrderInfo]: ...
    async def miners(self, after: bytes, limit: int) -> Sequence[MinerInfo]:
        """Of whatever standing, in order of public key, those above `after`."""

    async def fraud_cases(self, after: bytes, limit: int) -> Sequence[FraudCaseInfo]:
        """Neither lapsed nor paid out, in order of id, those above `after`."""

    async def mempool(self, limit: int) -> Sequence[Transaction]: ...


class ServerHandler(NodeHandler, BlobHandler, Protocol):
    """An FL server."""

    async def info(self) -> ServerInfo: ...

    async def offer_order(self, order: Order) -> None:
        """Before the deposit: would the server run it? Raises OrderRefused with the reason."""

    async def order_progress(self, order_id: bytes) -> OrderProgress: ...
    def watch_order(self, order_id: bytes) -> AsyncIterator[OrderProgress]:
        """Each change until the order has ended."""

    async def final_model(self, order_id: bytes, public_key: bytes, requested_at: int, signature: bytes) -> bytes:
        """The trained model, for the requester only. Raises NotTheRequester, ModelNotReady."""

    async def join(self, public_key: bytes, samples: int, joined_at: int, signature: bytes) -> None:
        """A client joins, or says that it is still there."""

    async def poll_round(self, public_key: bytes, wait_seconds: float) -> RoundOffer | None:
        """The round this client is selected for and has not handed in yet; waits that long at most for one."""

    async def submit_update(
        self, commitment: UpdateCommitment, public_key: bytes, signature: bytes, data: bytes
    ) -> None:
        """A trained update, as safetensors. Raises what is wrong with it. Handing in the same again is accepted."""


class UpdateKeeper(ServerHandler, Protocol):
    """An FL server that judges updates before it takes memory for them."""

    async def expect_update(self, commitment: UpdateCommitment, public_key: bytes, signature: bytes, size: int) -> bool:
        """Whether an update that is about to be handed in is still needed. Raises what is wrong with it so far."""
