"""Those who use the simulated network: requesters, a server, people who pay each other, and one who pays twice."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcoin.consensus.messages import ReceiveTask, ReceiveTransaction
from fedcoin.core.errors import FedCoinError
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.transaction import Body, MinerLeave, MinerRegistration, Transaction, Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.miners import is_miner
from fedcoin.ledger.orders import open_orders
from tests.sim.node import SimNode
from tests.support.network import REQUESTER, SERVER, make_task, order_body

if TYPE_CHECKING:
    from tests.sim.world import World

USERS = tuple(PrivateKey(bytes([0x30 + index]) * 32) for index in range(4))
"""Accounts of people; the last one pays nobody until faults are over."""

SERVER_MS = 1_000
REJOIN_MS = 2_000


@dataclass
class People:
    """Acts through whatever nodes are up."""

    world: World
    rng: random.Random
    clients: int
    counts: dict[str, int] = field(default_factory=dict)
    spent_twice: list[tuple[Transaction, Transaction]] = field(default_factory=list)

    def submit(self, node: SimNode, key: PrivateKey, body: Body, fee: int | None = None) -> Transaction | None:
        """A wallet asks a node for its next nonce, signs, and submits. None if the node has refused."""
        if not node.up:
            return None
        posap = node.running
        nonce = posap.mempool.pending_nonce(key.address, posap.chain.state)
        wanted = self.rng.randint(1, 9) if fee is None else fee
        transaction = sign_transaction(key, self.world.chain_id, nonce, wanted, body)
        kind = type(body).__name__
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.world.note(f"{kind} with nonce {nonce} is handed to {node.name}")
        return transaction if self.world.feed(node, ReceiveTransaction(transaction)) else None

    def transfer(self) -> None:
        """Somebody pays somebody."""
        sender, recipient = self.rng.sample(USERS[:3], 2)
        self.submit(self._some_node(), sender, Transfer(recipient.address, self.rng.randint(1, 1000)))

    def order(self, rounds: int, lasts_ms: int) -> None:
        """The requester orders a model; a short-lived order comes to be refunded."""
        amount = self.rng.randint(10, 100) * UNITS_PER_FDC
        expiry = self.world.now + lasts_ms
        body = order_body(rounds=rounds, amount=amount, expiry=expiry, clients=self.clients)
        self.submit(self._some_node(), REQUESTER, body)

    def double_spend(self) -> None:
        """The same money goes to two people, on two sides of a cut if there is one."""
        world, key = self.world, USERS[2]
        up = [node for node in world.nodes if node.up]
        if len(up) < 2:
            return
        one = self.rng.choice(up)
        far = [node for node in up if not world.links.joined(one.index, node.index)]
        other = self.rng.choice(far or [node for node in up if node is not one])
        nonce = get_account(one.running.chain.state, key.address).nonce
        amount = get_account(one.running.chain.state, key.address).balance // 2
        if amount < 100:
            return
        pair = [
            sign_transaction(key, world.chain_id, nonce, 5, Transfer(recipient.address, amount))
            for recipient in USERS[:2]
        ]
        for node, transaction in zip((one, other), pair, strict=True):
            world.note(f"one half of a double spend is handed to {node.name}")
            world.feed(node, ReceiveTransaction(transaction))
        self.spent_twice.append((pair[0], pair[1]))
        self.counts["double spend"] = self.counts.get("double spend", 0) + 1

    def register(self, node: SimNode) -> None:
        """A newcomer asks to be a miner, through itself."""
        self.submit(node, node.key, MinerRegistration(node.name), fee=5)

    def leave(self, node: SimNode) -> None:
        """A miner asks to leave, and to be a miner again as soon as its bond is back."""
        self.submit(node, node.key, MinerLeave(), fee=5)
        self.world.at(REJOIN_MS, self._rejoin, node)

    def _rejoin(self, node: SimNode) -> None:
        if node.up and not is_miner(node.running.chain.state, node.key.public_key):
            waiting = node.running.mempool.transactions()
            if not any(each.sender == node.key.public_key for each in waiting):
                self.submit(node, node.key, MinerRegistration("again"), fee=5)
                self.counts["back again"] = self.counts.get("back again", 0) + 1
        self.world.at(REJOIN_MS, self._rejoin, node)

    def serve(self, until: int | None = None) -> None:
        """The server: every second, publishes a task for the first open order where the node it asks lacks one."""
        world = self.world
        world.at(SERVER_MS, self.serve)
        node = self._some_node()
        if not node.up or not node.honest:
            return
        posap = node.running
        tasks = posap.open_tasks()
        for record in open_orders(posap.chain.state):
            if record.order.expiry > world.now + 2_000 and not any(task.order == record.order_id for task in tasks):
                task = make_task(node, record.order_id, world.now + node.skew_ms, self.clients)  # type: ignore[arg-type]
                self.counts["task"] = self.counts.get("task", 0) + 1
                world.note(f"the server publishes round {task.round} on {task.parent.hex()[:6]} at {node.name}")
                world.feed(node, ReceiveTask(task))
                return

    def _some_node(self) -> SimNode:
        up = [node for node in self.world.nodes if node.up]
        return self.rng.choice(up or self.world.nodes)


def executable(node: SimNode, transaction: Transaction, now: int) -> bool:
    """Whether a node would still take a transaction in."""
    posap = node.running
    try:
        posap.mempool.add(transaction, posap.chain.state, now)
    except FedCoinError:
        return False
    return True


__all__ = ["SERVER", "USERS", "People", "executable"]
