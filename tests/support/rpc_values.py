"""One value of each kind that crosses the wire, for the tests of rpc."""

from __future__ import annotations

import hashlib
from typing import Any

from fedcoin.core.block import Block, BlockHeader
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import DoubleSign, FraudReport, FraudVote, LeafProof
from fedcoin.core.genesis import Allocation, Genesis
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.params import ChainParams
from fedcoin.core.task import (
    Aggregation,
    Baseline,
    Contributor,
    Problem,
    RaceKind,
    Sampler,
    Task,
    UpdateCommitment,
    UpdateRef,
    Utility,
)
from fedcoin.core.transaction import (
    MinerLeave,
    MinerRegistration,
    Order,
    Payment,
    PaymentKind,
    Schedule,
    Transaction,
    Transfer,
)
from fedcoin.rpc import views


def h(name: str) -> bytes:
    """32 bytes that differ by name."""
    return hashlib.sha256(name.encode()).digest()


def address(name: str) -> bytes:
    return h(name)[:20]


def key(name: str) -> bytes:
    return b"\x02" + h(name)


def signature(name: str) -> bytes:
    return h(name) + h(name + "'")


MODEL = ModelSpec(
    ModelFamily.LAYERS,
    "mlp-é",
    (1, 8, 8),
    10,
    (Layer(LayerKind.CONV2D, 4, 3, 1, 1), Layer(LayerKind.RELU), Layer(LayerKind.LINEAR, 10)),
)
PROBLEM = Problem(
    MODEL,
    Aggregation.WEIGHTED,
    Utility.NEGATIVE_LOSS,
    Baseline.STARTING_MODEL,
    Sampler.HYBRID,
    h("base"),
    h("set"),
    (UpdateRef(h("u0"), 7), UpdateRef(h("u1"), 2**64 - 1)),
)
TASK = Task(
    key("server"),
    h("order"),
    999,
    h("parent"),
    2**64 - 1,
    1,
    0,
    PROBLEM,
    (Contributor(key("c0"), signature("c0")), Contributor(key("c1"), signature("c1"))),
    2,
    10**7,
    1_700_000_000_000,
    1_700_000_900_000,
    signature("task"),
)
ORDER = Order(
    address("server"),
    10**10,
    7,
    1,
    2,
    1000,
    Schedule.GEOMETRIC,
    9,
    10,
    MODEL,
    Aggregation.UNWEIGHTED,
    Utility.ACCURACY,
    Baseline.ZERO,
    Sampler.ANTITHETIC,
    h("set"),
    1024,
    1_700_001_000_000,
)
ESTIMATE = Estimate(
    RaceKind.AUDIT, h("t"), h("p"), key("m"), 2**20, (-(2**63), 0, 2**63 - 1), h("leaf"), 5, signature("e")
)
TRANSFER = Transaction(key("a"), 0, 1, Transfer(address("b"), 5), signature("t1"))
DEPOSIT = Transaction(key("a"), 2**64 - 1, 10**6, ORDER, signature("t2"))
REGISTRATION = Transaction(key("a"), 3, 0, MinerRegistration(""), signature("t3"))
LEAVE = Transaction(key("a"), 4, 0, MinerLeave(), signature("t4"))
PROOF = LeafProof(5, b"\x00" * 24, (h("l"), h("r")))
REPORT_OF_FRAUD = FraudReport(ESTIMATE, h("order"), LeafProof(4, bytes(24), ()), PROOF)
ACCUSATION = Transaction(key("a"), 5, 0, REPORT_OF_FRAUD, signature("t5"))
BARE_ACCUSATION = Transaction(key("a"), 6, 0, FraudReport(ESTIMATE, None, None, PROOF), signature("t6"))
VOTE = Transaction(key("a"), 7, 0, FraudVote(h("case")), signature("t7"))
PAYMENT = Payment(PaymentKind.REFUND, h("order"), 3, address("x"), address("y"), 77)
HEADER = BlockHeader(
    1,
    h("chain"),
    RaceKind.TASK,
    42,
    key("w"),
    (-5, 5),
    9,
    h("previous"),
    (1, -1),
    8,
    10**6,
    h("merkle"),
    1_700_000_000_500,
    h("task"),
    h("certificate"),
    h("state"),
)
DOUBLE_SIGN = Transaction(key("a"), 8, 0, DoubleSign(HEADER, signature("b"), HEADER, signature("b2")), signature("t8"))
BLOCK = Block(HEADER, signature("b"), TASK, (ESTIMATE,), (PAYMENT,), (TRANSFER, DEPOSIT, REGISTRATION))
AUDIT_BLOCK = Block(HEADER, signature("b"), None, (), (), ())
PARAMS = ChainParams("net", 1, 2, 3, 4, 5, 6, 7, 0, 2, 3, 10, 100, 0, 1000, 10**9, 50, 2**20, 2**25, 1000)
GENESIS = Genesis(PARAMS, 1, (Allocation(address("a"), 5),), (key("m"), key("n")), PROBLEM)
COMMITMENT = UpdateCommitment(h("order"), 0, h("base"), h("u0"), 100)

CORE_VALUES: list[Any] = [
    MODEL,
    MODEL.layers[0],
    PROBLEM,
    PROBLEM.updates[0],
    TASK,
    TASK.contributors[0],
    COMMITMENT,
    ORDER,
    TRANSFER.body,
    REGISTRATION.body,
    TRANSFER,
    DEPOSIT,
    REGISTRATION,
    LEAVE,
    LEAVE.body,
    PROOF,
    REPORT_OF_FRAUD,
    ACCUSATION,
    BARE_ACCUSATION,
    VOTE,
    VOTE.body,
    DOUBLE_SIGN,
    DOUBLE_SIGN.body,
    PAYMENT,
    ESTIMATE,
    HEADER,
    BLOCK,
    AUDIT_BLOCK,
    PARAMS,
    GENESIS,
    GENESIS.allocations[0],
]

SETTINGS = views.TrainingSettings(20, 32, 0.1, 0.9)
STATUS = views.NodeStatus(
    "miner", "0.1", h("chain"), key("me"), h("tip"), 42, h("state"), 3, 1_700_000_000_000, True, "net"
)
PEERS = [views.PeerInfo(f"host{i}:70", key(str(i)) if i else b"", i % 2 == 0, i, i) for i in range(250)]
PROGRESS = views.MiningProgress(
    True,
    h("race"),
    1,
    h("task"),
    h("order"),
    2,
    10,
    0.01,
    100,
    -1.0,
    3,
    2,
    12.5,
    "cpu",
    (views.MinerEstimate(key("m"), 9, 0.5),),
)
TERMS = views.TaskTerms(h("tip"), 42, 17, 10**6, 2)
TRANSACTION_INFO = views.TransactionInfo(views.TransactionState.CONFIRMED, DEPOSIT, h("b"), 42, 1, 6)
UNKNOWN_TRANSACTION = views.TransactionInfo(views.TransactionState.UNKNOWN, None, b"", 0, 0, 0)
HISTORY = [
    views.HistoryEntry(9, 1, h("b"), 17, b"", PAYMENT, address("z"), 77, 0),
    views.HistoryEntry(9, 0, h("b"), 17, h("tx"), None, address("z"), -80, 3),
    views.HistoryEntry(4, 5, h("b4"), 16, h("tx4"), None, address("z"), 2**62, 0),
]
OFFER = views.RoundOffer(h("order"), 1, MODEL, h("base"), SETTINGS, 700, 1_700_000_000_000)
REPORT = views.RoundReport(0, (address("c0"), address("c1")), 0.5, h("t"), b"", h("m"))
ORDER_PROGRESS = views.OrderProgress(h("order"), views.OrderPhase.MINING, 1, 5, 2, 3, "round 1: 2 of 3", (REPORT,))
SERVER_INFO = views.ServerInfo(address("s"), key("s"), h("chain"), 5, 1, 1000, SETTINGS)


def order_info(index: int) -> views.OrderInfo:
    return views.OrderInfo(bytes([index]) * 32, ORDER, address("r"), views.OrderState.OPEN, 1, 10**9, 7, 35)


def account_info(index: int) -> views.AccountInfo:
    return views.AccountInfo(index.to_bytes(20, "big"), 10**index % 2**63, index, index + 1, 42)


def miner_info(index: int) -> views.MinerInfo:
    standing = views.MinerStanding(index % 3 + 1)
    return views.MinerInfo(b"\x02" + bytes([index]) * 32, f"m{index}", standing, index, index == 0, 1, 10**9)


def case_info(index: int) -> views.FraudCaseInfo:
    votes = tuple(key(f"voter {number}") for number in range(index))
    order = h("order") if index else b""
    return views.FraudCaseInfo(bytes([index]) * 32, key("m"), address("r"), order, 5, 105, index == 2, votes)


VIEW_VALUES: list[Any] = [
    STATUS,
    PEERS[0],
    PEERS[1],
    PROGRESS,
    PROGRESS.estimates[0],
    TERMS,
    TRANSACTION_INFO,
    UNKNOWN_TRANSACTION,
    *HISTORY,
    OFFER,
    REPORT,
    ORDER_PROGRESS,
    SERVER_INFO,
    SETTINGS,
    order_info(1),
    account_info(3),
    miner_info(1),
    case_info(0),
    case_info(2),
]
