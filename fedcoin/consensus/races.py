"""The races on the present tip, and which of them is worth working on."""

from __future__ import annotations

from collections.abc import Sequence

from fedcoin.consensus.chain import Chain
from fedcoin.consensus.difficulty import expected_difficulty
from fedcoin.consensus.messages import RaceReady, RaceStalled
from fedcoin.consensus.race import Race, RaceTerms
from fedcoin.consensus.verify import heartbeat_due, verify_open_task
from fedcoin.core.errors import OrderNotFound, TaskStale, TooManyTasks, UnknownParent
from fedcoin.core.estimate import Estimate
from fedcoin.core.keys import PrivateKey, address_of
from fedcoin.core.task import RaceKind, Task
from fedcoin.ledger.orders import get_order
from fedcoin.ledger.problems import last_problem
from fedcoin.ledger.settlement import overdue_payments, refund_payments

MAX_TASKS_PER_ROUND = 4
"""Tasks for one round on one tip: a server that has lost its task may publish another, not flood."""

MAX_HELD_TASKS = 16
"""Tasks published on a tip of equal height that is not ours, kept in case it becomes ours."""

MAX_ASIDE = 1_024
"""Orders remembered whose tasks could not be begun."""


class Races:
    """One race per open task and one AUDIT race, all anchored to the tip."""

    def __init__(self, chain: Chain, key: PrivateKey) -> None:
        self._chain = chain
        self._key = key
        self._tasks: dict[bytes, Task] = {}
        self._races: dict[bytes, Race] = {}
        self._held: list[Task] = []
        self._aside: dict[bytes, None] = {}
        """Orders whose task could not be begun when it was tried last, the latest at the end."""
        self.tip_changed()

    def tip_changed(self) -> None:
        """Work on another parent is worth nothing; a fresh AUDIT race stands by."""
        chain = self._chain
        self._tasks.clear()
        self._races.clear()
        self._held = [task for task in self._held if not self._is_stale(task)]
        # Bonds fall due with blocks, not with time; refunds are looked at whenever there is nothing else to do.
        self._overdue = bool(overdue_payments(chain.state, chain.params, chain.height + 1, timestamp=0))
        problem = last_problem(chain.state)
        difficulty = expected_difficulty(chain.state, RaceKind.AUDIT, chain.params)
        self._audit = self._open(
            RaceTerms(RaceKind.AUDIT, problem.id(), problem, chain.tip, difficulty, chain.params.norm)
        )

    def get(self, race: bytes) -> Race | None:
        """A race on the tip, by its id."""
        return self._races.get(race)

    def of_estimate(self, estimate: Estimate) -> Race | None:
        """The race on the tip that an estimate belongs to."""
        return self._races.get(estimate.race)

    def miners(self) -> set[bytes]:
        """Other miners that have been heard on the tip."""
        return {miner for race in self._races.values() for miner in race.others}

    def drop_miner(self, miner: bytes) -> None:
        """Forgets a convicted miner's estimates."""
        for race in self._races.values():
            race.drop(miner)

    def open_tasks(self) -> Sequence[Task]:
        """The oldest order first (Observations 1 and 2: later orders queue); of one round's tasks the latest."""
        return sorted(self._tasks.values(), key=self._rank)

    def add_task(self, task: Task, now: int) -> bool:
        """True if it is new and may be mined. One that was published on another tip of our height or above is held.

        Raises UnknownParent, TaskStale, TooManyTasks and what the task's rules raise.
        """
        chain = self._chain
        task_hash = task.id(chain.chain_id)
        if task_hash in self._tasks:
            return False
        if task.parent != chain.tip:
            return self._hold(task)
        self._drop_expired(now)
        if sum((t.order, t.round) == (task.order, task.round) for t in self._tasks.values()) >= MAX_TASKS_PER_ROUND:
            raise TooManyTasks
        parent = chain.parent_of_next()
        verify_open_task(task, parent, chain.state, chain.chain_id, chain.params, max(now, parent.timestamp + 1))
        self._tasks[task_hash] = task
        self._open(RaceTerms(RaceKind.TASK, task_hash, task.problem, task.parent, task.difficulty, task.norm, task))
        return True

    def note(self, event: RaceStalled | RaceReady) -> None:
        """The task of a race cannot be begun: other work comes before its order's, on later tips too; or it can.

        Else one server that withholds its updates would hold up everybody until its order expires.
        """
        race = self._races.get(event.race)
        if race is None or race.terms.task is None:
            return
        order = race.terms.task.order
        self._aside.pop(order, None)
        if isinstance(event, RaceStalled):
            self._aside[order] = None
            if len(self._aside) > MAX_ASIDE:
                del self._aside[next(iter(self._aside))]

    def aside(self) -> list[Race]:
        """Races of open tasks that were set aside."""
        return [self._races[self._terms_id(task)] for task in self.open_tasks() if task.order in self._aside]

    def take_held(self) -> list[Task]:
        """Held tasks whose parent is the tip by now; they are held no longer."""
        ready = [task for task in self._held if task.parent == self._chain.tip]
        self._held = [task for task in self._held if task.parent != self._chain.tip]
        return ready

    def choose(self, timestamp: int, has_transactions: bool) -> Race | None:
        """The race that a block of `timestamp` should end; None if there is nothing to do."""
        open_tasks = [task for task in self.open_tasks() if timestamp <= self._expiry(task)]
        for task in open_tasks:
            if task.order not in self._aside:
                return self._races[self._terms_id(task)]
        parent = self._chain.parent_of_next()
        due = has_transactions or self._overdue or heartbeat_due(parent, timestamp, self._chain.params)
        if due or refund_payments(self._chain.state, timestamp):
            return self._audit
        # With nothing else to do, what could not be begun is tried again.
        return self._races[self._terms_id(open_tasks[0])] if open_tasks else None

    def _hold(self, task: Task) -> bool:
        """After a tie, or when its parent is still on the way or being audited, our tip may move there yet."""
        if self._is_stale(task):
            raise TaskStale
        if task not in self._held:
            task.verify_server(self._chain.chain_id)
            self._held.append(task)
            if len(self._held) > MAX_HELD_TASKS:
                # Anyone can sign a task for an order that does not exist; those must not drive out the others.
                self._held.remove(next(filter(self._is_strange, self._held), self._held[0]))
        if not self._chain.tree.contains(task.parent):
            raise UnknownParent
        return False

    def _is_stale(self, task: Task) -> bool:
        """Whether the tip will never again be the block that the task was published on."""
        tree = self._chain.tree
        if not tree.contains(task.parent):
            return False
        return tree.height(task.parent) < self._chain.height or tree.is_invalid(task.parent)

    def _is_strange(self, task: Task) -> bool:
        """Whether it belongs to no order that we know, or comes from another than the order's server."""
        try:
            return get_order(self._chain.state, task.order).order.server != address_of(task.server)
        except OrderNotFound:
            return True

    def _drop_expired(self, now: int) -> None:
        for task_hash, task in list(self._tasks.items()):
            if task.expiry < now:
                del self._races[self._terms_id(task)]
                del self._tasks[task_hash]

    def _rank(self, task: Task) -> tuple[int, int, bytes]:
        record = get_order(self._chain.state, task.order)
        return record.sequence, -task.opened_at, task.id(self._chain.chain_id)

    def _expiry(self, task: Task) -> int:
        return min(task.expiry, get_order(self._chain.state, task.order).order.expiry)

    def _terms_id(self, task: Task) -> bytes:
        return next(race.id for race in self._races.values() if race.terms.task is task)

    def _open(self, terms: RaceTerms) -> Race:
        race = Race(terms, self._key, self._chain.chain_id, self._chain.verified)
        self._races[race.id] = race
        return race
