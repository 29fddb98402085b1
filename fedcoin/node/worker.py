"""One spawned process for what would hold the event loop up: decoding, aggregating, training.

Only that process imports torch. It ends when its parent does, whatever happens to the parent.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from typing import Any, TypeVar

from fedcoin.core.errors import FedCoinError, WorkerFailed

T = TypeVar("T")


class Worker:
    """Runs functions one after another, away from the event loop."""

    def __init__(self, threads: int = 1, make_executor: Callable[[], Executor] | None = None) -> None:
        """`threads`: CPU threads that torch may use. `make_executor` takes the place of the spawned process."""
        self._make = make_executor or (lambda: _spawned(threads))
        self._executor: Executor | None = None

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """The result of function(*args), which must be picklable, from the worker.

        Raises the function's FedCoinError, or WorkerFailed if it fails otherwise or its process dies twice.
        """
        for attempt in range(2):
            if self._executor is None:
                self._executor = self._make()
            executor = self._executor
            try:
                return await asyncio.get_running_loop().run_in_executor(executor, function, *args)
            except BrokenExecutor as error:
                if self._executor is executor:
                    self._executor = None
                if attempt:
                    raise WorkerFailed("the process for learning died twice; is there enough memory?") from error
            except FedCoinError:
                raise
            except Exception as error:
                raise WorkerFailed(f"learning failed: {type(error).__name__}: {error}") from error
        raise WorkerFailed  # not reached

    def stop(self) -> None:
        """Ends the worker; what it is doing is dropped."""
        executor, self._executor = self._executor, None
        if isinstance(executor, ProcessPoolExecutor):
            processes = list((executor._processes or {}).values())
            executor.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
        elif executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)


def _spawned(threads: int) -> ProcessPoolExecutor:
    # Forking after torch has run hangs, and threads of torch hold the GIL that RPCs need.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=_prepare, initargs=(threads,))


def _prepare(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from fedcoin.learning.device import limit_threads

    limit_threads(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
