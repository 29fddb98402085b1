"""Whatever a peer sends: a FedCoinError or nothing, and the chain is as it should be."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum

import pytest

from fedcoin.consensus.messages import (
    Input,
    ReceiveBlock,
    ReceiveEstimate,
    ReceiveTask,
    ReceiveTransaction,
    StartAudit,
    Tick,
)
from fedcoin.consensus.posap import PoSapSettings
from fedcoin.consensus.verified import Verified
from fedcoin.core.block import BLOCK, Block, certificate_root, sign_block
from fedcoin.core.errors import FedCoinError, InvalidSignature, MalformedEncoding, UnknownParent
from fedcoin.core.estimate import ESTIMATE
from fedcoin.core.task import TASK
from fedcoin.core.transaction import TRANSACTION
from tests.support.blocks import (
    KEYS,
    adopted,
    lone_node,
    network_won_by_another,
    replay,
    reseal,
    resign,
    settled_network,
)
from tests.support.network import MINERS, Network

EXTREMES = (0, 1, 2, 2**20, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, -1, -(2**63))


def mutate(value: object, rng: random.Random) -> object:
    """A value of the same type with one thing changed somewhere in it."""
    if is_dataclass(value) and not isinstance(value, type):
        name = rng.choice([field.name for field in fields(value)])
        return replace(value, **{name: mutate(getattr(value, name), rng)})  # type: ignore[type-var]
    if isinstance(value, Enum):
        return rng.choice(list(type(value)))
    if isinstance(value, int):
        return rng.choice([*EXTREMES, value + 1, value - 1, 2 * value])
    if isinstance(value, bytes):
        return rng.choice([bytes(len(value)), rng.randbytes(len(value)), b"\x02" + value[1:]])
    if isinstance(value, tuple):
        return _mutate_tuple(value, rng)
    return value


def _mutate_tuple(value: tuple[object, ...], rng: random.Random) -> tuple[object, ...]:
    if not value:
        return value
    at = rng.randrange(len(value))
    changed = (*value[:at], mutate(value[at], rng), *value[at + 1 :])
    return rng.choice([changed, changed, changed, value[:at] + value[at + 1 :], (*value, value[at]), value[::-1], ()])


def encodable(event: Input) -> bool:
    """Whether it could have come over the wire."""
    try:
        match event:
            case ReceiveBlock():
                BLOCK.encode(event.block)
            case ReceiveEstimate():
                ESTIMATE.encode(event.estimate)
            case ReceiveTask():
                TASK.encode(event.task)
            case ReceiveTransaction():
                TRANSACTION.encode(event.transaction)
    except MalformedEncoding:
        return False
    return True


def hostile(blocks: list[Block], rng: random.Random) -> Iterator[Input]:
    """Changed copies of honest messages; half of the blocks are signed again by whoever they name."""
    while True:
        block = rng.choice(blocks)
        kind = rng.randrange(5)
        if kind == 0:
            yield ReceiveEstimate(mutate(rng.choice(block.certificate), rng))  # type: ignore[arg-type]
        elif kind == 1 and block.task is not None:
            yield ReceiveTask(mutate(block.task, rng))  # type: ignore[arg-type]
        elif kind == 2 and block.transactions:
            yield ReceiveTransaction(mutate(rng.choice(block.transactions), rng))  # type: ignore[arg-type]
        elif kind == 3:
            changed = mutate(block, rng)
            assert isinstance(changed, Block)
            try:
                sealed = reseal(changed, MINERS[rng.randrange(3)])
            except MalformedEncoding:
                continue
            yield ReceiveBlock(sealed, more_follows=rng.random() < 0.3)
        else:
            yield ReceiveBlock(consistent(block, rng), more_follows=rng.random() < 0.3)


def consistent(block: Block, rng: random.Random) -> Block:
    """Estimates, header and roots that fit each other, made from a changed estimate: it gets past the first checks."""
    chain_id, members = block.header.chain_id, list(block.certificate)
    at = rng.randrange(len(members))
    changed = mutate(members[at], rng)
    if changed.miner not in KEYS or not encodable(ReceiveEstimate(changed)):  # type: ignore[attr-defined]
        return block
    members[at] = resign(chain_id, changed)  # type: ignore[arg-type]
    own, *others = members
    if not others or len({len(estimate.total) for estimate in members}) != 1:
        return block
    totals = tuple(sum(column) for column in zip(*(estimate.total for estimate in others), strict=True))
    header = replace(
        block.header,
        winner=own.miner,
        winner_total=own.total,
        winner_time=own.time,
        averaged_total=totals,
        averaged_time=sum(estimate.time for estimate in others),
        certificate_root=certificate_root(tuple(members)),
        difficulty=rng.choice([block.header.difficulty, 2**64 - 1]),
    )
    try:
        return sign_block(KEYS[own.miner], replace(block, header=header, certificate=tuple(members)))
    except MalformedEncoding:
        return block


@pytest.fixture(scope="module")
def network() -> Network:
    return settled_network(rounds=3)


@pytest.mark.parametrize("seed", range(6))
def test_changed_messages_end_in_a_fedcoin_error_or_nothing(network: Network, seed: int) -> None:
    rng = random.Random(seed)
    blocks = adopted(network.nodes[0].posap.chain)
    settings = PoSapSettings(patience_ms=rng.choice([-1, 60_000]))
    target = Network(network.genesis, nodes=1, settings=settings)
    node, chain = target.nodes[0], target.nodes[0].posap.chain
    source, waiting, refused = hostile(blocks, rng), list(blocks), 0
    for number in range(1_200):
        target.now = network.now + 10_000 + number
        event = next(source)
        if not encodable(event):
            continue
        try:
            target.deliver(node, event)
        except FedCoinError:
            refused += 1
        if number % 300 == 299 and waiting:
            feed_honest(target, waiting.pop(0))
    assert refused > 300
    assert chain.state.entries() == replay(network.genesis, adopted(chain)).entries()
    # However much was thrown at it, it takes the honest chain.
    target.now = network.now + 3_600_000
    for block in blocks:
        feed_honest(target, block)
    for _ in range(3):
        target.now += 100_000
        target.deliver(node, Tick())
    assert chain.height >= len(blocks)
    assert chain.state.entries() == replay(network.genesis, adopted(chain)).entries()
    assert node.storage.state.entries() == chain.state.entries()


def feed_honest(target: Network, block: Block) -> None:
    try:
        target.deliver(target.nodes[0], ReceiveBlock(block, more_follows=True))
    except UnknownParent:
        return  # Its turn comes at the end.


def test_verified_signatures_are_remembered_with_the_signature() -> None:
    """A digest without it would let the same estimate pass with any signature."""
    net = settled_network()
    block = adopted(net.nodes[0].posap.chain)[0]
    verified = Verified(net.chain_id, net.genesis.params)
    one, two = block.certificate[:2]
    verified.estimate(one)
    verified.estimate(one)
    with pytest.raises(InvalidSignature):
        verified.estimate(replace(one, signature=two.signature))
    with pytest.raises(InvalidSignature):
        verified.estimate(replace(one, time=one.time + 1))
    (paid,) = block.transactions
    verified.transaction(paid)
    with pytest.raises(InvalidSignature):
        verified.transaction(replace(paid, signature=two.signature))
    assert len(verified) == 2


def test_the_memory_of_signatures_is_bounded() -> None:
    net = settled_network(miners=4)
    block = adopted(net.nodes[0].posap.chain)[0]
    verified = Verified(net.chain_id, net.genesis.params, capacity=2)
    for estimate in block.certificate:
        verified.estimate(estimate)
    assert len(verified) == 2


def test_a_block_that_waits_for_its_audit_does_not_keep_others_from_winning_for_long() -> None:
    """Else who wins once could hold everyone up by handing out one block after another and no leaves."""
    net = network_won_by_another()
    (first, *_) = adopted(net.nodes[0].posap.chain)
    node = lone_node(net.genesis, mine=False, patience_ms=60_000, hold_ms=5_000)
    posap, now = node.posap, net.now
    effects = posap.step(ReceiveBlock(first), now)
    assert any(isinstance(effect, StartAudit) for effect in effects)
    assert posap._contender_waits(now + 5_000)
    assert not posap._contender_waits(now + 5_001)


def test_settings_are_a_nodes_own_and_no_rule() -> None:
    """Nodes of very different settings agree on what is valid."""
    net = settled_network(rounds=2)
    blocks = adopted(net.nodes[0].posap.chain)
    for settings in (PoSapSettings(mine=False), PoSapSettings(mine=False, patience_ms=1, audit_leaves=1)):
        node = lone_node(net.genesis, mine=False, patience_ms=settings.patience_ms)
        for block in blocks:
            node.posap.step(ReceiveBlock(block, more_follows=True), net.now)
        node.posap.step(Tick(), net.now + 200_000)
        assert node.posap.chain.tip == blocks[-1].id()
