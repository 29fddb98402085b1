"""What a case is about: the report that opened it, and the race in which the accused estimate was made."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from fedcoin.consensus.chain import Chain
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import FraudReport
from fedcoin.core.task import Problem, RaceKind, Task
from fedcoin.ledger.fraud import FraudCase
from fedcoin.ledger.problems import last_problem

MAX_TASKS = 64
"""Tasks that are remembered although no block has settled them."""
LOOK_BACK = 100
"""Blocks below an AUDIT race in which its problem is looked for, if it is none of those at hand."""


@dataclass(frozen=True)
class RaceFile:
    """What must be known to recompute an estimate of a race."""

    problem: Problem
    order: bytes | None
    """Of a TASK race: whom its fraud harms."""


class CaseFiles:
    """Looks things up on the chain; remembers tasks that are not, or not yet, on it."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._tasks: OrderedDict[bytes, Task] = OrderedDict()

    def note_task(self, task: Task) -> None:
        """A task that fits the tip has come."""
        self._tasks[task.id(self._chain.chain_id)] = task
        if len(self._tasks) > MAX_TASKS:
            self._tasks.popitem(last=False)

    def report_of(self, case: FraudCase) -> FraudReport | None:
        """The report that opened a case of the tip's state; None for a double signature."""
        chain = self._chain
        block = chain.block(chain.tree.ancestor(chain.tip, case.opened_height))
        for transaction in block.transactions:
            body = transaction.body
            if isinstance(body, FraudReport) and body.id(chain.chain_id) == case.id:
                return body
        return None

    def race_of(self, estimate: Estimate) -> RaceFile | None:
        """The race of an estimate; None if we do not know its problem, or if there was no such race."""
        if estimate.kind is RaceKind.AUDIT:
            problem = next((each for each in self._problems(estimate.parent) if each.id() == estimate.task), None)
            return RaceFile(problem, None) if problem is not None else None
        task = self._tasks.get(estimate.task) or self._settled(estimate)
        if task is None or task.parent != estimate.parent:
            return None
        return RaceFile(task.problem, task.order)

    def _settled(self, estimate: Estimate) -> Task | None:
        """The task as a block carries it that has ended the race, on whatever branch."""
        if not self._chain.tree.contains(estimate.parent):
            return None
        for child in self._chain.tree.children(estimate.parent):
            block = self._chain.block(child)
            if block.task is not None and block.header.task == estimate.task:
                return block.task
        return None

    def _problems(self, parent: bytes) -> Iterator[Problem]:
        """What an AUDIT race on `parent` may be about, the likeliest first. A problem is known by its digest."""
        chain = self._chain
        yield last_problem(chain.state)
        yield chain.genesis.problem
        for task in self._tasks.values():
            yield task.problem
        for _ in range(LOOK_BACK):
            if not chain.tree.contains(parent) or parent == chain.chain_id:
                return
            block = chain.block(parent)
            if block.task is not None:
                yield block.task.problem
                return
            parent = block.header.previous
