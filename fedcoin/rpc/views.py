"""What RPCs answer beyond the signed values of core: plain values, the same on both sides of the wire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fedcoin.core.model import ModelSpec
from fedcoin.core.transaction import Order, Payment, Transaction
from fedcoin.ledger.miners import MinerStanding

NONCE_SIZE = 32
"""Bytes that a caller draws for a miner to sign."""


@dataclass(frozen=True)
class NodeStatus:
    """Who a node is and where its chain stands."""

    role: str
    """miner, server or client."""
    version: str
    chain_id: bytes
    public_key: bytes
    tip: bytes
    """Hash of the tip (miners)."""
    height: int
    state_root: bytes
    peers: int
    started_at: int
    """Milliseconds since 1970."""
    syncing: bool
    network: str


@dataclass(frozen=True)
class PeerInfo:
    """A miner that this node knows."""

    address: str
    """HOST:PORT."""
    public_key: bytes
    """Empty until it has answered."""
    connected: bool
    height: int
    last_seen: int
    """Milliseconds since 1970; 0: never."""


@dataclass(frozen=True)
class MinerEstimate:
    """Where one miner stands in a race."""

    miner: bytes
    time: int
    distance: float
    """‖S − S̄‖ as far as the answering node can tell; negative: not known."""


@dataclass(frozen=True)
class MiningProgress:
    """The race of a miner."""

    active: bool
    race: bytes
    kind: int
    """RaceKind, 0: none."""
    task: bytes
    order: bytes
    round: int
    clients: int
    difficulty: float
    iterations: int
    distance: float
    """Negative: not known yet."""
    heard_from: int
    quorum: int
    iterations_per_second: float
    device: str
    estimates: tuple[MinerEstimate, ...]


@dataclass(frozen=True)
class AccountInfo:
    """An account at the tip."""

    address: bytes
    balance: int
    nonce: int
    pending_nonce: int
    """Nonce that the next transaction should carry, mempool included."""
    height: int


class TransactionState(IntEnum):
    """How far a transaction has come."""

    UNKNOWN = 0
    PENDING = 1
    CONFIRMED = 2


@dataclass(frozen=True)
class TransactionInfo:
    """A transaction and where it stands."""

    state: TransactionState
    transaction: Transaction | None
    block: bytes
    height: int
    index: int
    confirmations: int


@dataclass(frozen=True)
class HistoryEntry:
    """One movement on an account: a transaction of or to it, or a block's payment."""

    height: int
    index: int
    block: bytes
    timestamp: int
    transaction: bytes
    """Transaction id; empty for a payment that a block makes."""
    payment: Payment | None
    counterparty: bytes
    """Address of the other side."""
    amount: int
    """Units, signed: negative leaves the account."""
    fee: int


class OrderState(IntEnum):
    """How far an order has come on the chain."""

    OPEN = 1
    FINISHED = 2
    REFUNDED = 3


@dataclass(frozen=True)
class OrderInfo:
    """An order at the tip."""

    order_id: bytes
    order: Order
    requester: bytes
    """Address."""
    state: OrderState
    rounds_settled: int
    escrow: int
    """Units left."""
    confirmed_height: int
    confirmations: int


@dataclass(frozen=True)
class MinerInfo:
    """A miner at the tip."""

    public_key: bytes
    name: str
    standing: MinerStanding
    since: int
    """Height of the block in which it left or was convicted; 0 while it is registered."""
    active: bool
    """It counts for the quorum."""
    registered_height: int
    bond: int
    """Units."""


@dataclass(frozen=True)
class FraudCaseInfo:
    """A fraud case at the tip."""

    case_id: bytes
    accused: bytes
    """Public key."""
    reporter: bytes
    """Address."""
    order: bytes
    """Whose requester gets the damages; empty: the other active miners."""
    opened_height: int
    lapse_height: int
    """The block at this height drops it if it is not decided before."""
    decided: bool
    votes: tuple[bytes, ...]
    """Public keys."""


@dataclass(frozen=True)
class TaskTerms:
    """What a server needs of the chain to publish a task on its tip."""

    tip: bytes
    height: int
    timestamp: int
    """Of the tip; a task may not be opened earlier."""
    difficulty: int
    """D of a TASK block on this tip."""
    norm: int


# --- training --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingSettings:
    """How clients train in a round."""

    iterations: int
    """SGD passes over the local data (§6.1: 20)."""
    batch_size: int
    learning_rate: float
    momentum: float = 0.0


@dataclass(frozen=True)
class RoundOffer:
    """What a selected client needs to train in a round."""

    order_id: bytes
    round: int
    model: ModelSpec
    base_model: bytes
    """SHA-256 of the starting model's blob."""
    settings: TrainingSettings
    train_price: int
    """Units for all clients of the round."""
    deadline: int
    """Milliseconds since 1970."""


class OrderPhase(IntEnum):
    """Where a server is with an order."""

    OFFERED = 1
    """Terms accepted, deposit not yet confirmed."""
    WAITING = 2
    """Confirmed; another order or clients are waited for."""
    TRAINING = 3
    MINING = 4
    """The Shapley task is published."""
    FINISHED = 5
    FAILED = 6
    """Expired or refused; the chain refunds what is left."""


@dataclass(frozen=True)
class RoundReport:
    """A round that is settled or under way."""

    round: int
    clients: tuple[bytes, ...]
    """Addresses, in the order of the Shapley vector."""
    accuracy: float
    """Of the aggregated model on the evaluation set."""
    task: bytes
    block: bytes
    """That settled it; empty until then."""
    model: bytes
    """SHA-256 of the aggregated model's blob; empty until aggregated."""


@dataclass(frozen=True)
class OrderProgress:
    """Where an order stands, for its requester."""

    order_id: bytes
    phase: OrderPhase
    round: int
    rounds: int
    updates: int
    """Received in this round."""
    clients: int
    """Selected in this round."""
    message: str
    reports: tuple[RoundReport, ...]


@dataclass(frozen=True)
class ServerInfo:
    """What a requester or client should know of a server."""

    address: bytes
    public_key: bytes
    chain_id: bytes
    clients: int
    """That have joined and were heard lately."""
    open_orders: int
    max_rounds: int
    settings: TrainingSettings
