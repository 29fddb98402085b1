"""The evaluator leaves the processor to the node."""

import os

from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.evaluator_worker import NICENESS


async def test_the_worker_steps_back_behind_its_node() -> None:
    evaluator = EvaluatorProcess()
    await evaluator.start(threads=1, device="cpu")
    try:
        assert evaluator.pid is not None
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, evaluator.pid) == min(19, own + NICENESS)
    finally:
        await evaluator.stop()
