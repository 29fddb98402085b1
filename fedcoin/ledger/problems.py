"""The Shapley problem that was settled last: what AUDIT races run on."""

from __future__ import annotations

from fedcoin.core.errors import InvalidGenesis
from fedcoin.core.task import PROBLEM, Problem
from fedcoin.ledger.state import PROBLEM_KEY, State


def last_problem(state: State) -> Problem:
    """The problem of the last TASK block, or the genesis problem. Raises InvalidGenesis if there is none."""
    value = state.get(PROBLEM_KEY)
    if value is None:
        raise InvalidGenesis("the state has no problem for AUDIT blocks: it was not made from a genesis")
    return PROBLEM.decode(value)


def set_last_problem(state: State, problem: Problem) -> None:
    """Makes `problem` the one that the next AUDIT races run on."""
    state.put(PROBLEM_KEY, PROBLEM.encode(problem))
