"""A workload's evaluation in a process of its own: how much memory it takes, and a digest of its leaves.

`python -m benchlib.alone WORKLOAD IMAGES FOLDER THREADS ITERATIONS DEVICE` loads the blobs as a miner's evaluator does,
evaluates, and prints an `Alone` as JSON. Two such processes must agree to the bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchlib.miner import RACE, engine_name, miner_key
from benchlib.problem import Problem
from benchlib.workloads import WORKLOADS
from fedcoin.core.task import Sampler
from fedcoin.learning.device import limit_threads
from fedcoin.shapley.iterations import Iterations

_LIMIT_SECONDS = 900


@dataclass(frozen=True)
class Alone:
    """What such a process reports."""

    peak_rss_bytes: int
    load_seconds: float
    """From blobs to an evaluator that is ready."""
    leaves_sha256: str
    engine: str


def measure_alone(problem: Problem, threads: int, iterations: int, device: str) -> Alone:
    """Loads and evaluates in a new process. Raises RuntimeError with its last words if it fails."""
    workload = problem.workload
    arguments = [workload.name, workload.images, problem.folder.resolve(), threads, iterations, device]
    tools = Path(__file__).resolve().parents[1]
    paths = [str(tools.parent), str(tools), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "benchlib.alone", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    if done.returncode:
        raise RuntimeError(f"the process that measures memory failed: {done.stderr.strip()[-800:]}")
    return Alone(**json.loads(done.stdout.splitlines()[-1]))


def evaluate(problem: Problem, iterations: int, device: str) -> Alone:
    """The measurement itself, of this process."""
    began = time.perf_counter()
    evaluator = problem.evaluator(device)
    loaded = time.perf_counter() - began
    leaves = Iterations(Sampler.PERMUTATION, evaluator).leaves(RACE, miner_key(1), range(iterations))
    digest = hashlib.sha256(leaves.astype("<i8").tobytes()).hexdigest()
    return Alone(peak_rss_bytes(), round(loaded, 3), digest, engine_name(evaluator))


def peak_rss_bytes() -> int:
    """The most physical memory that this process has had.

    From /proc where there is one: getrusage counts what the parent had when it started this process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Measures what the command line names."""
    name, images, folder, threads, iterations, device = sys.argv[1:]
    limit_threads(int(threads))
    problem = Problem(replace(WORKLOADS[name], images=int(images)), Path(folder))
    print(json.dumps(asdict(evaluate(problem, int(iterations), device))))


if __name__ == "__main__":
    main()
