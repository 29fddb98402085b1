"""kill -9 of each role at random moments, again and again, while transfers and orders are under way.

FAULT_KILLS sets how many (`make faults` sets 200), FAULT_SEED which. What a miner has acknowledged is not lost: its
blocks are there after its restart, and every transfer is on the chain in the end, once.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fedcoin.core.errors import FedCoinError
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.views import NodeStatus, OrderState
from tests.support.payments import Payments
from tests.support.town import MINERS, ROLES, Town, build_town

KILLS = int(os.environ.get("FAULT_KILLS", "4"))
SEED = int(os.environ.get("FAULT_SEED", "1"))

pytestmark = [
    pytest.mark.functional,
    pytest.mark.xdist_group("processes"),
    pytest.mark.timeout(300 + 20 * KILLS),
]


class Killer:
    """Kills and restarts roles, and checks what a miner remembers."""

    def __init__(self, town: Town, seed: int) -> None:
        self.town = town
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.restarts: list[float] = []
        """Seconds from a miner's start until it listens."""
        self._seen: dict[str, NodeStatus] = {}
        self._starting: dict[str, float] = {}

    def strike(self, name: str) -> None:
        """One kill -9, and the same command line again."""
        if name in self._starting and self.random.random() < 0.7:
            self.settle(name)  # otherwise it is killed while it starts
        if name in MINERS and name not in self._starting:
            self._seen[name] = self.town.patiently(name, lambda client: client.status())
        self.town.running[name].kill()
        self.kills[name] += 1
        self.town.launch(name)
        self._starting[name] = time.time()

    def settle(self, name: str) -> None:
        """Waits until a restarted role listens; a miner must know the tip that it told before it was killed."""
        began = self._starting.pop(name, None)
        if began is None:
            return
        self.town.ready(name)
        seen = self._seen.pop(name, None)
        if seen is None:
            return
        self.restarts.append((self.town.folder / f"{name}.ready").stat().st_mtime - began)

        async def remembers(client: MinerClient) -> int:
            assert (await client.block(block_hash=seen.tip)).header.state_root == seen.state_root
            return (await client.status()).height

        if seen.height:
            assert self.town.patiently(name, remembers) >= seen.height

    def settle_all(self) -> None:
        """`settle` for whoever was restarted."""
        for name in list(self._starting):
            self.settle(name)


class Orders:
    """Keeps an order running."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.bought: list[bytes] = []

    def keep_running(self) -> None:
        """Buys another when the last one has ended; whoever is being killed just now is asked again later."""
        try:
            if not self.bought or self.ended(self.bought[-1]):
                self.bought.append(self._town.buy())
        except FedCoinError:
            pass

    def ended(self, order: bytes) -> bool:
        return self._town.miner("m0", lambda client: client.order(order)).state is not OrderState.OPEN


def test_killed_at_random_moments_nothing_acknowledged_is_lost(
    programs: Any, until: Callable[..., Any], row: Callable[[str], None]
) -> None:
    town = build_town(programs)
    killer, orders = Killer(town, SEED), Orders(town)
    began = time.monotonic()
    with Payments(town) as payments:
        until(lambda: town.clients() == 3, 60, town.running["server"].text)
        for number in range(KILLS):
            orders.keep_running()
            # The moment is what is tried out here: anything between at once and in the middle of a race.
            time.sleep(killer.random.uniform(0.0, 4.0))
            killer.strike(ROLES[number] if number < len(ROLES) else killer.random.choice(ROLES))
        killer.settle_all()
    lasted = time.monotonic() - began
    until(lambda: len(town.standings()) == 1, 120, lambda: str(town.standings()))
    for name in MINERS:
        until(lambda name=name: not payments.missing(name), 120, town.running[name].text)
    until(lambda: all(orders.ended(order) for order in orders.bought), 180, town.running["server"].text)
    until(lambda: len(town.standings()) == 1, 120, lambda: str(town.standings()))
    town.check_money()
    blocks = town.blocks()
    signed = [(block.header.winner, block.header.height) for name in MINERS for block in town.blocks(name)]
    assert len(set(signed)) == len(blocks), "nobody signed two blocks of one height"
    sent = [transaction.id(town.chain_id) for block in blocks for transaction in block.transactions]
    assert len(sent) == len(set(sent)), "no transaction stands twice"
    for running in town.running.values():
        assert "Traceback" not in running.text()
    slowest = max(killer.restarts, default=0.0)
    each = ", ".join(f"{count} {name}" for name, count in killer.kills.items())
    mean = sum(killer.restarts) / max(1, len(killer.restarts))
    taken, orders_taken = len(payments.acknowledged), len(orders.bought)
    row(
        f"{killer.kills.total()} kills in {lasted:.0f} s ({each}); {taken} transfers acknowledged, 0 lost; "
        f"{len(blocks)} blocks, {orders_taken} orders settled once, one state root, no height signed twice; "
        f"a miner listens {mean:.1f} s after its start, {slowest:.1f} s at most"
    )
