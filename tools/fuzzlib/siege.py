"""Malformed messages to a running role, with an eye on its memory, file handles, log and answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedcoin.core.errors import FedCoinError
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import SERVICES
from fuzzlib.bombard import Bombardment, Tally
from fuzzlib.village import Process

MAX_GROWTH = 0.10
"""Of resident memory after the warm-up."""
MORE_HANDLES = 16
"""File handles that may be open at the end beyond those after the warm-up: connections that are about to close."""
_WARM_UP = 20_000
"""Messages after which caches are full; half of a shorter run."""
_WARM_UP_MOST = 50_000
_SERVICES = {
    "miner": [service.name for service in SERVICES if service.name not in ("TrainingService", "OrderService")],
    "server": ["NodeService", "OrderService", "TrainingService", "BlobService"],
    "client": ["NodeService"],
}
_REPORT_SECONDS = 20.0


@dataclass
class Outcome:
    """What a role has gone through."""

    role: str
    tally: Tally
    seconds: float
    memory: tuple[int, int, int]
    """Resident bytes after the warm-up, at the end, and at most in between."""
    handles: tuple[int, int]
    """After the warm-up and at the end."""
    failures: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Of memory since the warm-up."""
        return self.memory[1] / self.memory[0] - 1


async def besiege(
    role: str, process: Process, messages: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Sends so many messages to a role, and judges."""
    bombardment = Bombardment(process.address, seed, services=_SERVICES[role])
    await bombardment.learn()
    began = spoken = time.monotonic()
    warm = min(max(messages // 10, min(messages // 2, _WARM_UP)), _WARM_UP_MOST)
    await bombardment.send(warm)
    before, handles = process.resident(), process.handles()
    highest = before

    def watch(tally: Tally) -> None:
        nonlocal spoken, highest
        now = time.monotonic()
        if now < spoken + _REPORT_SECONDS or not process.alive:
            return
        spoken = now
        highest = max(highest, process.resident())
        say(
            f"{role}: {tally.messages} messages in {now - began:.0f} s, {process.resident() / 2**20:.0f} MiB, "
            f"{process.handles()} handles, {len(tally.faults)} faults"
        )

    tally = await bombardment.send(messages, watch)
    seconds = time.monotonic() - began
    failures = list(tally.faults)
    if not await _answers(process):
        failures.append("it does not answer any more")
    if not process.alive:
        return Outcome(role, tally, seconds, (before, 0, highest), (handles, 0), [*failures, "it has ended"])
    await _settled(process, handles)
    memory = (before, process.resident(), max(highest, process.resident()))
    outcome = Outcome(role, tally, seconds, memory, (handles, process.handles()), failures)
    if outcome.growth > MAX_GROWTH:
        failures.append(f"its memory grew by {outcome.growth:.1%}")
    if outcome.handles[1] > handles + MORE_HANDLES:
        failures.append(f"it has {outcome.handles[1]} open file handles, {handles} after the warm-up")
    failures += [line for line in process.text().splitlines() if "Traceback" in line or " ERROR " in line][:20]
    return outcome


async def _answers(process: Process) -> bool:
    """Whether it gives its status."""
    try:
        async with MinerClient(process.address, retry=Retry(5)) as client:
            return bool((await client.status()).version)
    except FedCoinError:
        return False


async def _settled(process: Process, handles: int) -> None:
    """Waits until it has noticed that the connections are gone, for a while."""
    for _ in range(100):
        if process.handles() <= handles:
            return
        await asyncio.sleep(0.1)


def table(outcomes: list[Outcome]) -> str:
    """One line a role."""
    lines = [
        f"{'role':8} {'messages':>9} {'at decoders':>11} {'limited':>8} {'seconds':>8} "
        f"{'MiB warm':>8} {'most':>6} {'end':>6} {'growth':>7} {'handles':>9} {'failures':>8}"
    ]
    for each in outcomes:
        tally, (warm, end, most) = each.tally, (value / 2**20 for value in each.memory)
        share = tally.decoded / max(1, tally.messages)
        lines.append(
            f"{each.role:8} {tally.messages:>9} {share:>11.1%} {tally.limited:>8} {each.seconds:>8.0f} "
            f"{warm:>8.1f} {most:>6.1f} {end:>6.1f} {each.growth:>7.1%} "
            f"{f'{each.handles[0]} → {each.handles[1]}':>9} {len(each.failures):>8}"
        )
    return "\n".join(lines)
