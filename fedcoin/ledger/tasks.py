"""Rules for a Shapley task (Alg. 3 lines 4–6): that it settles the next round of an open order on the order's terms.

Whether it is anchored to the right parent and carries the right difficulty is consensus' part.
"""

from __future__ import annotations

from fedcoin.core.errors import (
    TaskClientsOutOfRange,
    TaskContributorsMismatch,
    TaskContributorTwice,
    TaskExpired,
    TaskExpiryInvalid,
    TaskRoundMismatch,
    TaskSamplerDoesNotFit,
    TaskSamplesZero,
    TaskServerMismatch,
    TaskTermsMismatch,
)
from fedcoin.core.keys import address_of, verify_signature
from fedcoin.core.params import MAX_CLIENTS, ChainParams
from fedcoin.core.task import Task
from fedcoin.core.transaction import Order
from fedcoin.ledger.orders import OrderRecord, get_open_order
from fedcoin.ledger.prices import round_prices
from fedcoin.ledger.state import State


def verify_task(state: State, task: Task, chain_id: bytes, params: ChainParams, timestamp: int) -> None:
    """Raises unless a block with that timestamp (ms) may settle the task in this state; cheap rules first.

    Raises OrderNotFound, OrderNotOpen, the Task… errors below, InvalidSignature, InvalidPublicKey.
    """
    record = get_open_order(state, task.order)
    verify_task_server(task, record.order)
    verify_task_round(task, record)
    verify_task_times(task, record.order, timestamp)
    verify_task_clients(task, record.order)
    verify_task_sampler(task)
    verify_task_terms(task, record.order, params)
    task.verify_server(chain_id)
    verify_commitments(task, chain_id)


def verify_task_server(task: Task, order: Order) -> None:
    """Raises TaskServerMismatch unless the order names the task's server."""
    if address_of(task.server) != order.server:
        raise TaskServerMismatch


def verify_task_round(task: Task, record: OrderRecord) -> None:
    """Raises TaskRoundMismatch unless the task's round is the order's next one."""
    if task.round != record.rounds_settled:
        raise TaskRoundMismatch(f"the task is for round {task.round}, the order's next one is {record.rounds_settled}")


def verify_task_times(task: Task, order: Order, timestamp: int) -> None:
    """Raises TaskExpiryInvalid unless opened_at < expiry ≤ the order's expiry; TaskExpired if `timestamp` is later."""
    if not task.opened_at < task.expiry <= order.expiry:
        raise TaskExpiryInvalid(
            f"the task was opened at {task.opened_at} and expires at {task.expiry}; choose an expiry after the opening "
            f"and at most the order's, {order.expiry} (ms since 1970)"
        )
    if timestamp > task.expiry:
        raise TaskExpired(
            f"the task expired at {task.expiry}, before {timestamp} (ms since 1970); publish the round again"
        )


def verify_task_clients(task: Task, order: Order) -> None:
    """Raises TaskClientsOutOfRange, TaskContributorsMismatch, TaskContributorTwice or TaskSamplesZero."""
    clients = task.problem.clients
    if not order.min_clients <= clients <= MAX_CLIENTS:
        raise TaskClientsOutOfRange(
            f"the task has {clients} clients; the order wants {order.min_clients} at least, the protocol allows "
            f"{MAX_CLIENTS}"
        )
    if len(task.contributors) != clients:
        raise TaskContributorsMismatch(f"the task has {clients} updates and {len(task.contributors)} contributors")
    if len({contributor.public_key for contributor in task.contributors}) != clients:
        raise TaskContributorTwice
    for index, update in enumerate(task.problem.updates):
        if update.samples < 1:
            raise TaskSamplesZero(f"update {index} rests on no samples; leave it out")


def verify_task_sampler(task: Task) -> None:
    """Raises TaskSamplerDoesNotFit unless the task's sampler serves so many clients: a race must not lack miners."""
    sampler, clients = task.problem.sampler, task.problem.clients
    if clients > sampler.most_clients:
        raise TaskSamplerDoesNotFit(
            f"the task has {clients} clients, the sampler {sampler.name} serves {sampler.most_clients} at most; choose "
            "fewer clients, or order with another sampler"
        )


def verify_task_terms(task: Task, order: Order, params: ChainParams) -> None:
    """Raises TaskTermsMismatch, naming the field, unless the task keeps to its order (and the chain's norm).

    The round is one of the order's.
    """
    prices = round_prices(order)[task.round]
    problem = task.problem
    terms = {
        "model": (problem.model, order.model),
        "aggregation": (problem.aggregation, order.aggregation),
        "utility": (problem.utility, order.utility),
        "baseline": (problem.baseline, order.baseline),
        "sampler": (problem.sampler, order.sampler),
        "evaluation_set": (problem.evaluation_set, order.evaluation_set),
        "train_price": (task.train_price, prices.train),
        "com_price": (task.com_price, prices.com),
        "sap_price": (task.sap_price, prices.sap),
        "norm": (task.norm, params.norm),
    }
    for name, (found, agreed) in terms.items():
        if found != agreed:
            raise TaskTermsMismatch(f"the task's {name} is not the one agreed on; publish it as the order says")


def verify_commitments(task: Task, chain_id: bytes) -> None:
    """Raises InvalidSignature unless each contributor signed its update for this order, round and starting model."""
    for index, contributor in enumerate(task.contributors):
        verify_signature(contributor.public_key, task.commitment(index).id(chain_id), contributor.signature)
