"""Asks miners for their status again and again, from a process of its own, so that nothing else delays the clock."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection

import grpc

from fedcoin.rpc.channel import CHANNEL_OPTIONS
from fedcoin.v1 import node_service_pb2 as pb
from fedcoin.v1.node_service_pb2_grpc import NodeServiceStub

Sample = tuple[float, float]
"""When (monotonic), and seconds until the answer; 10 s and more: none came."""
_DEADLINE = 10.0


class Probe:
    """The process, while it runs."""

    def __init__(self, addresses: list[str], per_second: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs, addresses, per_second), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    async def stop(self) -> list[Sample]:
        """What it has measured."""
        self._pipe.send("stop")
        samples: list[Sample] = await asyncio.to_thread(self._pipe.recv)
        await asyncio.to_thread(self._process.join, 5.0)
        return samples


def _main(pipe: Connection, addresses: list[str], per_second: float) -> None:
    try:
        asyncio.run(_measure(pipe, addresses, per_second))
    except (KeyboardInterrupt, EOFError, OSError):
        return


async def _measure(pipe: Connection, addresses: list[str], per_second: float) -> None:
    samples: list[Sample] = []
    running: set[asyncio.Task[None]] = set()
    channels = [grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) for address in addresses]
    stubs = [NodeServiceStub(channel) for channel in channels]

    async def ask(stub: NodeServiceStub) -> None:
        began = time.monotonic()
        try:
            await stub.GetStatus(pb.GetStatusRequest(), timeout=_DEADLINE)
            samples.append((began, time.monotonic() - began))
        except grpc.aio.AioRpcError:
            samples.append((began, max(_DEADLINE, time.monotonic() - began)))

    pause = 1.0 / (per_second * len(stubs))
    turn = 0
    while not pipe.poll():
        # Whatever the answers take, questions come at the same pace: a slow answer must not hide behind itself.
        task = asyncio.create_task(ask(stubs[turn % len(stubs)]))
        running.add(task)
        task.add_done_callback(running.discard)
        turn += 1
        await asyncio.sleep(pause)
    if running:
        await asyncio.wait(running, timeout=_DEADLINE)
    for channel in channels:
        await channel.close()
    pipe.send(samples)
