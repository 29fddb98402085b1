"""What happens on the example chain: an order, its tasks, payments."""

from __future__ import annotations

from fedcoin.consensus.difficulty import expected_difficulty
from fedcoin.core.block import Block
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import Contributor, Problem, RaceKind, Task, sign_task
from fedcoin.core.transaction import Transaction, Transfer, sign_transaction
from fedcoin.ledger.orders import get_order
from fedcoin.ledger.prices import round_prices
from vectorlib.block_builder import Position, Values, certificate, finished, unsigned_block
from vectorlib.people import CHAIN, PARAMS, START, digest, key, order, problem

ORDER = order()
DEPOSIT = sign_transaction(key("requester"), CHAIN, 0, 2000, ORDER)
ORDER_ID = DEPOSIT.id(CHAIN)
CLIENTS = [key(f"client {i}") for i in range(3)]
SHAPLEY: Values = (250_000_000, -40_000_000, 90_000_000)
"""S of the first round: the second client has harmed the model."""


def pay(sender: str, nonce: int, amount: int, fee: int = 1000) -> Transaction:
    """A transfer to the server."""
    return sign_transaction(key(sender), CHAIN, nonce, fee, Transfer(key("server").address, amount))


def order_problem(number: int) -> Problem:
    """The problem of one round."""
    found = problem(f"round {number}", len(CLIENTS))
    return Problem(**{**vars(found), "evaluation_set": digest("order evaluation set")})


def make_task(
    at: Position, contributors: list[PrivateKey] | None = None, server: PrivateKey | None = None, **changes: object
) -> Task:
    """A signed task for the order's next round on `at`, with some fields changed before everyone signs."""
    server = server or key("server")
    number = get_order(at.state, ORDER_ID).rounds_settled
    prices = round_prices(ORDER)[number]
    terms: dict[str, object] = {
        "server": server.public_key,
        "order": ORDER_ID,
        "round": number,
        "parent": at.parent.hash,
        "train_price": prices.train,
        "com_price": prices.com,
        "sap_price": prices.sap,
        "problem": order_problem(number),
        "contributors": (),
        "norm": PARAMS.norm,
        "difficulty": expected_difficulty(at.state, RaceKind.TASK, PARAMS),
        "opened_at": at.parent.timestamp + 1000,
        "expiry": START + 600_000,
        "signature": b"",
    }
    bare = Task(**{**terms, **changes})  # type: ignore[arg-type]
    signers = (contributors or CLIENTS)[: bare.problem.clients] if contributors is None else contributors
    signed = tuple(
        Contributor(signer.public_key, signer.sign(bare.commitment(min(i, bare.problem.clients - 1)).id(CHAIN)))
        for i, signer in enumerate(signers)
    )
    return sign_task(server, CHAIN, Task(**{**vars(bare), "contributors": signed}))


def settlement(at: Position, values: Values) -> Block:
    """The TASK block that settles the order's next round with S near `values`."""
    return finished(at, task_block(at, make_task(at), values))


def task_block(at: Position, task: Task, values: Values, due: bool = True) -> Block:
    """A TASK block without state root and signature; without payments, if they are not `due`."""
    timestamp = at.parent.timestamp + 25_000
    estimates = certificate(at, RaceKind.TASK, task.id(CHAIN), values, timestamp)
    return unsigned_block(at, timestamp, estimates, task, payments=None if due else ())
