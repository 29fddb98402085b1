"""Networks that lose, delay and repeat messages, with a crash and a restart: they end in one chain that is right."""

from __future__ import annotations

import random

import pytest

from fedcoin.consensus.messages import ReceiveBlock, ReceiveTask, ReceiveTransaction
from fedcoin.consensus.posap import PoSapSettings
from fedcoin.core.errors import FedCoinError
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.orders import OrderStatus, get_order
from fedcoin.ledger.state import supply
from tests.support.blocks import adopted, replay
from tests.support.network import MINERS, SERVER, Network, make_genesis, make_task, place_order

ROUNDS = 2


class Server:
    """Publishes a task for the next round wherever its node lacks one, as the real one does."""

    def __init__(self, network: Network, order_id: bytes) -> None:
        self._network = network
        self._order = order_id
        self._next = 0

    def poll(self) -> None:
        network = self._network
        if network.now < self._next:
            return
        self._next = network.now + 1_000
        node = next(node for node in network.nodes if node.alive)
        try:
            record = get_order(node.posap.chain.state, self._order)
        except FedCoinError:
            return
        if record.state is OrderStatus.OPEN and not node.posap.open_tasks():
            network.feed(node, ReceiveTask(make_task(node, self._order, network.now)))


@pytest.mark.parametrize("seed", range(30))
def test_converges_to_one_right_chain(seed: int) -> None:
    rng = random.Random(seed)
    miners = rng.choice([3, 4, 5])
    network = Network(
        make_genesis(miners),
        nodes=miners,
        seed=seed,
        delay_ms=rng.choice([5, 50, 300]),
        loss=rng.choice([0.05, 0.2, 0.4]),
        duplication=0.2,
    )
    for node in network.nodes:
        node.speed = rng.choice([10.0, 20.0, 40.0])
    order_id = place_order(network, network.nodes[0], rounds=ROUNDS)
    transfer = sign_transaction(MINERS[1], network.chain_id, 0, 3, Transfer(SERVER.address, 777))
    network.feed(network.nodes[0], ReceiveTransaction(transfer), delay=rng.randrange(5_000))
    server = Server(network, order_id)
    victim = network.nodes[rng.randrange(1, miners)]
    crash_at, back_at = (network.now + offset for offset in sorted(rng.sample(range(100, 8_000), 2)))
    crashed = back = False

    nudged = 0

    def finished() -> bool:
        nonlocal crashed, back, nudged
        server.poll()
        if network.now >= network.started + 60_000 + 20_000 * nudged:
            # A tie of last blocks lasts until somebody has a reason for another block.
            body = Transfer(SERVER.address, 1)
            network.feed(
                network.nodes[0], ReceiveTransaction(sign_transaction(MINERS[2], network.chain_id, nudged, 1, body))
            )
            nudged += 1
        if not crashed and network.now >= crash_at:
            network.crash(victim)
            crashed = True
        if not back and network.now >= back_at:
            network.restart(victim)
            back = True
        return back and network.agree() and all(done(node.posap.chain.state) for node in network.nodes)

    def done(state) -> bool:  # type: ignore[no-untyped-def]
        try:
            order_done = get_order(state, order_id).state is OrderStatus.FINISHED
        except FedCoinError:
            return False
        return order_done and get_account(state, MINERS[1].address).nonce == 1

    network.run(finished, limit_ms=300_000)
    roots = {node.posap.chain.state.root() for node in network.nodes}
    assert len(roots) == 1
    chain = network.nodes[0].posap.chain
    assert chain.state.entries() == replay(network.genesis, adopted(chain)).entries()
    for node in network.nodes:
        assert supply(node.posap.chain.state) == sum(allocation.amount for allocation in network.genesis.allocations)
        assert node.storage.state.entries() == node.posap.chain.state.entries(), "what is stored is what is held"
        convicted = [error for error in node.refused if error.code == "MINER_CONVICTED"]
        assert not convicted, "nobody has forged anything"


def test_the_same_seed_gives_the_same_run() -> None:
    def run() -> list[bytes]:
        network = Network(make_genesis(4), nodes=4, seed=5, loss=0.1, duplication=0.1)
        place_order(network, network.nodes[0])
        network.run(lambda: min(network.heights()) >= 1 and network.agree())
        return [block.id() for block in adopted(network.nodes[0].posap.chain)]

    assert run() == run()


def test_a_cut_network_heals() -> None:
    """Halves without a quorum stand still, each on its own block of one height, and go on when they see each other."""
    for seed in range(3):
        network = Network(make_genesis(4), nodes=4, seed=seed)
        order_id = place_order(network, network.nodes[0])
        network.run(lambda network=network: min(network.heights()) == 1 and network.agree())
        other = Network(make_genesis(4), nodes=4, seed=seed + 100)
        place_order(other, other.nodes[0])
        other.run(lambda other=other: min(other.heights()) == 1 and other.agree())
        rival = adopted(other.nodes[0].posap.chain)[0]
        ours = adopted(network.nodes[0].posap.chain)[0]
        if rival.header.winner == ours.header.winner:
            continue  # the same block, or a double signature
        # Two of four nodes hold the other block of height 1, and a minute has passed.
        split = Network(make_genesis(4), nodes=4, seed=seed, settings=PoSapSettings(stall_ms=5_000))
        split.now = max(network.now, other.now) + 60_000
        split.linked = lambda a, b: False
        for node, block in zip(split.nodes, (ours, ours, rival, rival), strict=True):
            split.deliver(node, ReceiveBlock(block))
        split.run(lambda split=split: min(split.heights()) == 1)
        split.now += 60_000
        split.linked = lambda a, b: True
        for node in split.nodes:
            split.sync(node)
        server = Server(split, order_id)

        def healed(split: Network = split, server: Server = server) -> bool:
            server.poll()
            return min(split.heights()) >= 2 and split.agree()

        # Leaves of these blocks are to be had from nobody, so an audit waits for a minute.
        split.run(healed, limit_ms=150_000)
