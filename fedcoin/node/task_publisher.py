"""Publishing a round's Shapley task (Alg. 3 line 5): anchored to the tip, kept first, then handed to every miner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from fedcoin.core.errors import BlobNotWanted, FedCoinError
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import Problem, Task, sign_task
from fedcoin.core.transaction import Order
from fedcoin.ledger.prices import round_prices
from fedcoin.node.chain_view import ChainView
from fedcoin.node.rounds import Round
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.views import TaskTerms

log = logging.getLogger("fedcoin.server")

_WAIT_SECONDS = 5.0
_TELL_AGAIN_MS = 30_000
# A miner may have lost it.


def make_task(key: PrivateKey, chain_id: bytes, order: Order, round_: Round, terms: TaskTerms, now_ms: int) -> Task:
    """The signed task of an aggregated round, on the tip that `terms` describes."""
    prices = round_prices(order)[round_.number]
    problem = Problem(
        order.model,
        order.aggregation,
        order.utility,
        order.baseline,
        order.sampler,
        round_.base_model,
        order.evaluation_set,
        round_.update_refs,
    )
    task = Task(
        server=key.public_key,
        order=round_.order,
        round=round_.number,
        parent=terms.tip,
        train_price=prices.train,
        com_price=prices.com,
        sap_price=prices.sap,
        problem=problem,
        contributors=round_.contributors,
        norm=terms.norm,
        difficulty=terms.difficulty,
        opened_at=max(now_ms, terms.timestamp),
        expiry=order.expiry,
        signature=b"",
    )
    return sign_task(key, chain_id, task)


def is_anchored(task: Task | None, terms: TaskTerms) -> bool:
    """Whether a task that was published may still be settled by the block that follows the tip."""
    return task is not None and (task.parent, task.difficulty, task.norm) == (terms.tip, terms.difficulty, terms.norm)


def anchored(key: PrivateKey, chain_id: bytes, order: Order, round_: Round, terms: TaskTerms, now_ms: int) -> Round:
    """The round with its task anchored to the tip; the very same round if it is so already."""
    if is_anchored(round_.task, terms):
        return round_
    return replace(round_, task=make_task(key, chain_id, order, round_, terms, now_ms))


class TaskAnnouncer:
    """Hands a task and its blobs to all miners; at the next call again to those that did not answer."""

    def __init__(self, chain: ChainView, blob: Callable[[bytes], bytes | None], now_ms: Callable[[], int]) -> None:
        """`blob`: where blobs are read."""
        self._chain = chain
        self._blob = blob
        self._now_ms = now_ms
        self._told: dict[int, tuple[bytes, int]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._complaints: dict[int, tuple[bytes, type[BaseException]]] = {}

    async def announce(self, task: Task) -> None:
        """Returns when each miner has it, has refused it, or is being slow about it."""
        task_id = task.id(self._chain.chain_id)
        for index, miner in enumerate(self._chain.miners):
            told_id, told_at = self._told.get(index, (b"", 0))
            told = told_id == task_id and self._now_ms() - told_at < _TELL_AGAIN_MS
            if not told and index not in self._running:
                self._running[index] = asyncio.create_task(self._tell(index, miner, task, task_id))
        if self._running:
            await asyncio.wait(self._running.values(), timeout=_WAIT_SECONDS)

    async def stop(self) -> None:
        """Gives up on slow miners."""
        running = list(self._running.values())
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _tell(self, index: int, miner: MinerHandler, task: Task, task_id: bytes) -> None:
        try:
            # Blobs first, so that a miner may begin at once; one that takes none beforehand gets them afterwards.
            complete = await self._upload(miner, task)
            await miner.publish_task(task, None)
            if not complete:
                await self._upload(miner, task)
            self._told[index] = (task_id, self._now_ms())
        except (FedCoinError, OSError, TimeoutError) as error:
            news = self._complaints.get(index) != (task_id, type(error))
            self._complaints[index] = (task_id, type(error))
            level = logging.INFO if news else logging.DEBUG  # It is told again and again, the operator once.
            log.log(level, "miner %d does not take the task of round %d: %s", index + 1, task.round, error)
        finally:
            self._running.pop(index, None)

    async def _upload(self, miner: MinerHandler, task: Task) -> bool:
        for digest in dict.fromkeys(task.problem.blobs):
            if await miner.blob_size(digest) is not None:
                continue
            data = self._blob(digest)
            if data is None:
                continue
            try:
                await miner.put_blob(digest, data)
            except BlobNotWanted:
                return False
        return True
