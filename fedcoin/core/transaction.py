"""Signed transactions, and the payments that a block itself makes (Alg. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from fedcoin.core.encoding import HASH_SIZE, RememberingStruct, Struct, enum, raw, tagged_hash, text, u16, u64, union
from fedcoin.core.fraud import DOUBLE_SIGN, FRAUD_REPORT, FRAUD_VOTE, DoubleSign, FraudReport, FraudVote
from fedcoin.core.keys import ADDRESS_SIZE, PUBLIC_KEY_SIZE, SIGNATURE_SIZE, PrivateKey, address_of, verify_signature
from fedcoin.core.model import MODEL_SPEC, ModelSpec
from fedcoin.core.task import Aggregation, Baseline, Sampler, Utility

MAX_ROUNDS = 1000
"""Rounds of one order at most."""


class Schedule(IntEnum):
    """How an order's prices are divided among its rounds (§4: "equally or not")."""

    EQUAL = 1
    GEOMETRIC = 2
    """Each round's price is the one before times ratio_numerator/ratio_denominator ≤ 1."""


@dataclass(frozen=True)
class Transfer:
    """Moves `amount` units from the sender to `recipient`."""

    recipient: bytes
    amount: int


@dataclass(frozen=True)
class Order:
    """A requester's deposit V with its terms (Alg. 3 lines 1–3). V moves into the order's escrow."""

    server: bytes
    """Address of the FL server that shall run it."""
    amount: int
    """V in units."""
    train_share: int
    """Division contract TrainPrice : ComPrice : SapPrice (§4.3; default 7 : 1 : 2)."""
    com_share: int
    sap_share: int
    rounds: int
    schedule: Schedule
    ratio_numerator: int
    """Of the geometric schedule; 1/1 for an equal one."""
    ratio_denominator: int
    model: ModelSpec
    aggregation: Aggregation
    utility: Utility
    baseline: Baseline
    sampler: Sampler
    """Of every round's task."""
    evaluation_set: bytes
    """SHA-256 of the evaluation set's blob, committed before training."""
    min_clients: int
    """A round with fewer updates than this is not settled."""
    expiry: int
    """Milliseconds since 1970: the first block with a later timestamp refunds the rounds not settled."""


@dataclass(frozen=True)
class MinerRegistration:
    """Makes the sender a registered miner. The chain's `miner_bond` moves from its account into its bond."""

    name: str
    """A word for people."""


@dataclass(frozen=True)
class MinerLeave:
    """The sender mines no more. Its bond comes back after the chain's `bond_blocks`, unless it is convicted by then."""


Body = Transfer | Order | MinerRegistration | MinerLeave | FraudReport | FraudVote | DoubleSign
"""What a transaction may do."""


@dataclass(frozen=True)
class Transaction:
    """A signed transaction."""

    sender: bytes
    """Public key, 33 bytes."""
    nonce: int
    """Number of transactions that the sender's account has made before."""
    fee: int
    """Units for the block winner."""
    body: Body
    signature: bytes

    @cached_property
    def sender_address(self) -> bytes:
        """Address that pays."""
        return address_of(self.sender)

    def id(self, chain_id: bytes) -> bytes:
        """Transaction id: the digest that is signed. It does not cover the signature, so it cannot be malleated."""
        known = self._ids.get(chain_id)
        if known is None:
            # A node asks a dozen times on the way from the wire into a block.
            known = self._ids[chain_id] = _UNSIGNED.digest(self, chain_id)
        return known

    def verify(self, chain_id: bytes) -> None:
        """Raises InvalidSignature unless the sender signed this transaction for this chain."""
        verify_signature(self.sender, self.id(chain_id), self.signature)

    @cached_property
    def _ids(self) -> dict[bytes, bytes]:
        return {}


class PaymentKind(IntEnum):
    """Why a block pays."""

    WINNER = 1
    """Alg. 3 line 9: escrow → block winner, TrainPrice + SapPrice."""
    CLIENT = 2
    """Alg. 3 line 12: block winner → client i, p_i."""
    SERVER = 3
    """Alg. 3 line 2: escrow → FL server, ComPrice."""
    RETURN = 4
    """Escrow → requester, TrainPrice of a round in which nobody's S̄ is positive."""
    REFUND = 5
    """Escrow → requester, what is left of an order that has expired."""
    BOND = 6
    """Bond → miner that has left, when its time is up."""
    REWARD = 7
    """Bond of a convicted miner → whoever reported it, half of it."""
    DAMAGES = 8
    """Bond of a convicted miner → the requester of the race's order; without one the other active miners, equally."""


SETTLEMENT_KINDS = frozenset({PaymentKind.WINNER, PaymentKind.CLIENT, PaymentKind.SERVER, PaymentKind.RETURN})
"""What a TASK block pays for its round; the other kinds may stand in any block."""


@dataclass(frozen=True)
class Payment:
    """A payment that a block makes by rule; nobody signs it, and a block that lacks one is invalid."""

    kind: PaymentKind
    order: bytes
    """Order id; case id of REWARD and DAMAGES; zeros of BOND."""
    round: int
    payer: bytes
    """Address."""
    payee: bytes
    """Address."""
    amount: int
    """Units."""


TRANSFER = Struct(Transfer, "fedcoin/v1/transfer", recipient=raw(ADDRESS_SIZE), amount=u64)
ORDER = Struct(
    Order,
    "fedcoin/v1/order",
    server=raw(ADDRESS_SIZE),
    amount=u64,
    train_share=u16,
    com_share=u16,
    sap_share=u16,
    rounds=u16,
    schedule=enum(Schedule),
    ratio_numerator=u16,
    ratio_denominator=u16,
    model=MODEL_SPEC.codec,
    aggregation=enum(Aggregation),
    utility=enum(Utility),
    baseline=enum(Baseline),
    sampler=enum(Sampler),
    evaluation_set=raw(HASH_SIZE),
    min_clients=u16,
    expiry=u64,
)
MINER_REGISTRATION = Struct(MinerRegistration, "fedcoin/v1/registration", name=text(64))
MINER_LEAVE = Struct(MinerLeave, "fedcoin/v1/leave")
_BODY = union(
    transfer=(1, TRANSFER),
    order=(2, ORDER),
    registration=(3, MINER_REGISTRATION),
    leave=(4, MINER_LEAVE),
    fraud_report=(5, FRAUD_REPORT),
    fraud_vote=(6, FRAUD_VOTE),
    double_sign=(7, DOUBLE_SIGN),
)
_UNSIGNED = Struct(Transaction, "fedcoin/v1/transaction", sender=raw(PUBLIC_KEY_SIZE), nonce=u64, fee=u64, body=_BODY)
TRANSACTION = RememberingStruct(
    Transaction, "fedcoin/v1/signed-transaction", **_UNSIGNED.fields, signature=raw(SIGNATURE_SIZE)
)
PAYMENT = Struct(
    Payment,
    "fedcoin/v1/payment",
    kind=enum(PaymentKind),
    order=raw(HASH_SIZE),
    round=u16,
    payer=raw(ADDRESS_SIZE),
    payee=raw(ADDRESS_SIZE),
    amount=u64,
)


def sign_transaction(key: PrivateKey, chain_id: bytes, nonce: int, fee: int, body: Body) -> Transaction:
    """A transaction of `key`'s account, signed for the chain."""
    unsigned = Transaction(key.public_key, nonce, fee, body, b"")
    return Transaction(key.public_key, nonce, fee, body, key.sign(unsigned.id(chain_id)))


def bond_address(miner: bytes) -> bytes:
    """Address that holds a miner's bond (`miner`: public key). No key has it: only block rules move what it holds."""
    return tagged_hash("fedcoin/v1/bond", miner)[:ADDRESS_SIZE]


def escrow_address(order_id: bytes) -> bytes:
    """Address that holds an order's deposit. No key has it: only block rules move what it holds."""
    return tagged_hash("fedcoin/v1/escrow", order_id)[:ADDRESS_SIZE]
