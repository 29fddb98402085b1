"""What a miner's disk keeps, and for how long."""

from __future__ import annotations

from fedcoin.core.errors import OrderNotFound
from fedcoin.core.task import Task
from fedcoin.ledger.orders import get_order
from fedcoin.ledger.problems import last_problem
from fedcoin.node.blobs import BlobExchange
from fedcoin.node.engine import Engine
from fedcoin.store.chain_store import ChainStore

KEPT_RACES = 100
"""Races whose leaves are kept, and blocks for which tasks and their blobs are, so that a late node can still audit."""


def wanted_blobs(engine: Engine) -> set[bytes]:
    """Digests of what can be mined now."""
    posap = engine.posap
    problems = [*(task.problem for task in posap.open_tasks()), last_problem(posap.chain.state)]
    return {digest for problem in problems for digest in problem.blobs}


def tidy(engine: Engine, store: ChainStore, blobs: BlobExchange) -> None:
    """Forgets leaves, tasks and blobs that nobody will ask for any more. Call it at each new tip."""
    store.drop_leaves(KEPT_RACES)
    chain = engine.posap.chain
    settled = {*chain.genesis.problem.blobs, *last_problem(chain.state).blobs}
    lately: set[bytes] = set()
    for task in store.tasks():
        if not chain.tree.contains(task.parent) or chain.tree.height(task.parent) < chain.height - KEPT_RACES:
            store.delete_task(task.id(chain.chain_id))
        else:
            (settled if _is_settled(engine, task) else lately).update(task.problem.blobs)
    blobs.drop(settled, lately)


def drop_gone(store: ChainStore, engine: Engine) -> None:
    """Forgets transactions that wait no longer: replaced, or made invalid by the chain."""
    mempool, chain_id = engine.posap.mempool, engine.posap.chain.chain_id
    waiting = (transaction.id(chain_id) for transaction in store.pending())
    store.drop_pending([name for name in waiting if mempool.get(name) is None])


def _is_settled(engine: Engine, task: Task) -> bool:
    try:
        return get_order(engine.posap.chain.state, task.order).rounds_settled > task.round
    except OrderNotFound:
        return False
