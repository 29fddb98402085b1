"""What a miner asks of whatever evaluates coalitions for it: a process of its own, or a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedcoin.consensus.messages import RaceInfo
from fedcoin.core.task import Problem
from fedcoin.node.evaluator_frames import Leaves

AUDIT, MINING = 0, 1
"""Priorities of requests: those of audits overtake those of mining."""


@dataclass(frozen=True)
class LoadedProblem:
    """A problem that the evaluator holds."""

    clients: int
    """K."""
    samples: int
    """Of the evaluation set."""


class RaceEvaluator(Protocol):
    """Does the iterations of races and of audits (Alg. 1 lines 4–10), away from the event loop.

    `load` and `prepare` bear what comes before the first iteration: reading the blobs, and evaluating the coalitions on
    which every leaf of the problem's sampler builds. That may take minutes; other requests have their turn meanwhile,
    and it ends when whoever waits for it is cancelled. `mine` then takes about as long as it is told to.
    """

    @property
    def device(self) -> str:
        """Where it computes, such as `cpu` or `cuda:0`; empty before `start`."""
        ...

    @property
    def restarts(self) -> int:
        """How often a worker was started again."""
        ...

    @property
    def iterations_per_second(self) -> float:
        """Of the last `mine`."""
        ...

    @property
    def pid(self) -> int | None:
        """Process id of the worker, while there is one; None also where it does not run on this machine."""
        ...

    async def start(self, threads: int | None = None, device: str = "auto", memory_mb: int = 0) -> None:
        """Gets ready for `load`. `threads` of the CPU: all cores but one if None. `device`: as `resolve_device`.

        `memory_mb`: working memory of one problem's evaluation at most, in MiB; 0: chosen from what is free. Raises
        DeviceUnavailable, EvaluatorFailed; then nothing is left running.
        """
        ...

    async def load(self, info: RaceInfo, blobs: Mapping[bytes, bytes]) -> LoadedProblem:
        """Gets ready to mine a race. `blobs` by digest; each is asked for once and may be read from disk then.

        The blobs are kept hold of, for a worker that must be started again. Raises what is wrong with the problem
        (the errors of `open_evaluator`, SamplerDoesNotFit), EvaluatorFailed.
        """
        ...

    async def prepare(self, problem: Problem, blobs: Mapping[bytes, bytes], priority: int = AUDIT) -> LoadedProblem:
        """Loads a problem unless it is loaded, and says how large it is. Raises as `load`."""
        ...

    async def mine(self, race: bytes, start: int, seconds: float, max_iterations: int) -> tuple[int, Leaves]:
        """(start, leaves): iterations from `start` of a loaded race, as many as fit in about `seconds`, at least 1.

        Leaves are int64 [n, K], n ≤ max_iterations (Alg. 1 lines 4–12), and the same wherever they are computed but for
        what the sampler's `check` tolerates. Raises EvaluatorFailed, ValueError for a race that was not loaded.
        """
        ...

    async def recompute(
        self, problem: Problem, blobs: Mapping[bytes, bytes], race: bytes, miner: bytes, indices: Sequence[int]
    ) -> Leaves:
        """The leaves of iterations `indices` of a miner in a race, int64 [len, K]: for audits. Raises as `load`."""
        ...

    async def stop(self) -> None:
        """Ends all work. What it was asked for fails with EvaluatorFailed; stopping again does nothing."""
        ...
