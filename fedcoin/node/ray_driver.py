"""The process that drives a Ray cluster for a miner: `main()` with the arguments of `RayEvaluator`.

It speaks the frames of evaluator_worker.py, so that for the miner it is an evaluator process like any other. It is not
the miner itself, since Ray takes over signals, ends the processes of its group when it ends, and aborts a process whose
cluster has lost its head. Each answer also says which workers there are.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any, BinaryIO

from fedcoin.core.errors import FedCoinError
from fedcoin.node.evaluator_frames import Head, claim_output, read_frame, rows_body, write_frame
from fedcoin.node.ray_cluster import Cluster, RayOptions
from fedcoin.node.ray_pool import WorkerPool
from fedcoin.node.ray_workers import Refused, Stopping, Workers

STOP_SECONDS = 8.0
"""Ray gets so long to end what it has started; then this process ends without."""
_LOOK_SECONDS = 1.0

Frame = tuple[Head, bytes]


class RayEvaluations:
    """Does what requests ask for, as Evaluations does in the process of a single machine."""

    def __init__(self, cluster: Cluster, workers: Workers) -> None:
        self._cluster = cluster
        self._pool = WorkerPool(cluster, workers)
        self._blobs: dict[bytes, Any] = {}

    def answer(self, head: Head, body: bytes) -> Frame | None:
        """The answer to one request. Raises Refused, EvaluatorFailed, Stopping."""
        if head["op"] == "blob":
            self._blobs[bytes.fromhex(head["digest"])] = self._cluster.put(body)
            return None
        if head["op"] == "drop":
            self._blobs.clear()
            return None
        if head["op"] == "load":
            blobs, self._blobs = self._blobs, {}
            return self._pool.load(body, blobs), b""
        if head["op"] == "prepare":
            # A worker prepares a problem in one go; those that are idle do what comes meanwhile.
            prepared = self._pool.prepared(bytes.fromhex(head["problem"]))
            return ({"missing": True} if prepared is None else {**prepared, "done": True}), b""
        problem, race, miner = (bytes.fromhex(head[name]) for name in ("problem", "race", "miner"))
        began = time.monotonic()
        if head["op"] == "mine":
            rows = self._pool.mine(problem, race, miner, head["start"], head["seconds"], head["limit"])
        else:
            rows = self._pool.recompute(problem, race, miner, head["indices"])
        if rows is None:
            return {"missing": True}, b""
        return {"clients": rows.shape[1], "count": len(rows), "seconds": time.monotonic() - began}, rows_body(rows)


class Driver:
    """Reads requests, answers them."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._requests: queue.Queue[Frame | None] = queue.Queue()
        """None: there will be no more."""
        self._input_ended = threading.Event()

    def read(self) -> None:
        """Reads requests as they come, so that the end of the input is seen at once."""
        try:
            while True:
                self._requests.put(read_frame(sys.stdin.buffer))
        except (EOFError, OSError, ValueError):
            self._input_ended.set()
            self._requests.put(None)
            # Ray may hang, for instance while it waits for a head that is gone.
            watchdog = threading.Timer(STOP_SECONDS, os._exit, (0,))
            watchdog.daemon = True
            watchdog.start()

    def serve(self, options: RayOptions) -> None:
        """Opens the cluster and answers requests until there are no more."""
        cluster: Cluster | None = None
        try:
            cluster = Cluster(options)
            # Ray has just set its own way to end on a signal; when to end is the miner's to say.
            _ignore_signals()
            workers = Workers(cluster, options, self._input_ended.is_set)
            workers.open()
            self._serve(RayEvaluations(cluster, workers), workers)
        except FedCoinError as error:
            self._send({"error": error.code, "message": str(error)})
        except Refused as refusal:
            self._send(refusal.head)
        except (BrokenPipeError, Stopping):
            pass
        except Exception as error:
            self._send({"crash": f"{type(error).__name__}: {error}"[:2000]})
        finally:
            if cluster is not None:
                cluster.close()

    def _serve(self, evaluations: RayEvaluations, workers: Workers) -> None:
        self._send(_about(workers))
        while True:
            try:
                request = self._requests.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                workers.look()  # machines come and go also while there is nothing to do
                continue
            if request is None:
                return
            answer: Frame | None
            try:
                answer = evaluations.answer(*request)
            except FedCoinError as error:
                answer = {"error": error.code, "message": str(error)}, b""
            except Refused as refusal:
                answer = refusal.head, b""
            if answer is not None:
                self._send({**answer[0], **_about(workers)}, answer[1])

    def _send(self, head: Head, body: bytes = b"") -> None:
        write_frame(self._output, head, body)


def _about(workers: Workers) -> Head:
    devices = Counter(worker.about["device"] for worker in workers.ready if worker.about)
    text = ", ".join(f"{count} × {device}" for device, count in sorted(devices.items()))
    return {
        "device": f"Ray: {text or 'no worker'}",
        "lost": workers.lost,
        "workers": [worker.view for worker in workers.ready],
    }


def _ignore_signals() -> None:
    """Ctrl-C and a service manager's SIGTERM are the miner's to handle; this process ends with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not SIG_IGN, which Ray's processes would inherit.
        signal.signal(number, lambda *_: None)


def main() -> None:
    """Runs the driver until its input ends."""
    _ignore_signals()
    threads, device, memory_mb, address, workers, patience, folder = sys.argv[1:8]
    options = RayOptions(address, int(workers), int(threads), device, int(memory_mb), float(patience), folder)
    driver = Driver(claim_output())
    threading.Thread(target=driver.read, daemon=True).start()
    try:
        driver.serve(options)
    except BrokenPipeError:
        pass
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
