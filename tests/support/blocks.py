"""Valid blocks from a simulated network, ways to tamper with them, and replays."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from fedcoin.consensus.chain import Chain
from fedcoin.consensus.messages import ReceiveBlock, ReceiveTask
from fedcoin.consensus.posap import PoSapSettings
from fedcoin.consensus.transition import apply_block
from fedcoin.consensus.verify import Parent, verify_alone
from fedcoin.core.block import Block, BlockHeader, body_root, certificate_root, sign_block
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.state import State
from tests.support.network import MINERS, Network, Node, make_genesis, make_task, place_order

KEYS = {key.public_key: key for key in MINERS}
HEADER_FIELDS = frozenset(field.name for field in fields(BlockHeader))


def reseal(block: Block, key: PrivateKey | None = None, **changes: object) -> Block:
    """`block` with changed fields of header or body, its roots made to fit unless they are given, and signed again."""
    header_changes = {name: value for name, value in changes.items() if name in HEADER_FIELDS}
    body_changes = {name: value for name, value in changes.items() if name not in HEADER_FIELDS}
    changed = replace(block, **body_changes)  # type: ignore[arg-type]
    roots = {
        "merkle_root": body_root(changed.payments, changed.transactions),
        "certificate_root": certificate_root(changed.certificate),
    }
    header = replace(changed.header, **{**roots, **header_changes})  # type: ignore[arg-type]
    return sign_block(key or KEYS[header.winner], replace(changed, header=header))


def resign(chain_id: bytes, estimate: Estimate, **changes: object) -> Estimate:
    """An estimate with changed fields, signed again by its miner."""
    changed = replace(estimate, **changes)  # type: ignore[arg-type]
    return sign_estimate(KEYS[changed.miner], chain_id, changed)


def with_certificate(block: Block, chain_id: bytes, certificate: tuple[Estimate, ...], **changes: object) -> Block:
    """`block` with another certificate; header fields that repeat it follow."""
    winner, *others = certificate
    totals = [sum(values) for values in zip(*(estimate.total for estimate in others), strict=True)]
    follow = {
        "winner_total": winner.total,
        "winner_time": winner.time,
        "averaged_total": tuple(totals),
        "averaged_time": sum(estimate.time for estimate in others),
    }
    return reseal(block, certificate=certificate, **{**follow, **changes})


@dataclass(frozen=True)
class Position:
    """A block in its place: all that decides whether it is valid."""

    genesis: Genesis
    block: Block
    parent: Parent
    state: State
    """After the parent."""

    def check(self, block: Block | None = None) -> None:
        """Everything that the chain's rules ask. Raises the error of the broken one."""
        block = block or self.block
        chain_id, params = self.genesis.id(), self.genesis.params
        verify_alone(block, chain_id, params)
        apply_block(self.state, block, self.parent, chain_id, params)


def adopted(chain: Chain) -> list[Block]:
    """The blocks of the adopted chain, from height 1 up."""
    return [chain.block(block_hash) for block_hash in chain.path_to(chain.chain_id)[0][::-1]]


def replay(genesis: Genesis, blocks: list[Block]) -> State:
    """The state after applying blocks from the genesis on, each by all rules."""
    state = genesis_state(genesis)
    parent = Parent(genesis.id(), 0, genesis.timestamp)
    for block in blocks:
        verify_alone(block, genesis.id(), genesis.params)
        state.apply(apply_block(state, block, parent, genesis.id(), genesis.params).changes())
        parent = Parent(block.id(), block.header.height, block.header.timestamp)
    return state


def position(genesis: Genesis, blocks: list[Block], height: int) -> Position:
    """The block at `height`, in its place."""
    before = blocks[: height - 1]
    parent = Parent(genesis.id(), 0, genesis.timestamp)
    if before:
        parent = Parent(before[-1].id(), before[-1].header.height, before[-1].header.timestamp)
    return Position(genesis, blocks[height - 1], parent, replay(genesis, before))


def settled_network(miners: int = 3, seed: int = 1, rounds: int = 1, **changes: object) -> Network:
    """A network whose block 1 is an AUDIT block with an order, and each further one settles a round of it."""
    network = Network(make_genesis(miners, **changes), nodes=miners, seed=seed)
    order_id = place_order(network, network.nodes[0], rounds=rounds)
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    for number in range(rounds):
        settle_round(network, order_id)
        assert min(network.heights()) == 2 + number
    return network


def network_won_by_another(miners: int = 3) -> Network:
    """A settled network with a block 1 that MINERS[0] has not won: for that key, such a block needs an audit."""
    networks = (settled_network(miners, seed) for seed in range(1, 20))
    return next(net for net in networks if adopted(net.nodes[0].posap.chain)[0].header.winner != MINERS[0].public_key)


def settle_round(network: Network, order_id: bytes) -> None:
    """Publishes a task for the order's next round, and runs until all have its block."""
    height = max(network.heights()) + 1
    network.feed(network.nodes[0], ReceiveTask(make_task(network.nodes[0], order_id, network.now)))
    network.run(lambda: min(network.heights()) == height and network.agree())


def lone_node(genesis: Genesis, blocks: list[Block] = (), now: int | None = None, **settings: object) -> Node:  # type: ignore[assignment]
    """A node of nobody's that follows the chain and has adopted `blocks`. It keeps its key out of the races."""
    values = {"mine": False, "patience_ms": -1, **settings}
    network = Network(genesis, nodes=1, settings=PoSapSettings(**values))  # type: ignore[arg-type]
    node = network.nodes[0]
    network.now = now or network.now + 3_600_000
    for block in blocks:
        network.deliver(node, ReceiveBlock(block))
    return node
