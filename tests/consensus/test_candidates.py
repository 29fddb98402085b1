"""When a fresh block may become the tip: audits, condition 2, burial, patience, convictions, ties."""

from __future__ import annotations

import random

import pytest

from fedcoin.consensus.candidates import BURIED_CONVICTED, CHILD_GRACE_MS, ITERATIONS_PER_LEAF, Candidates
from fedcoin.consensus.certificate import averaged_of
from fedcoin.consensus.messages import (
    AdoptChain,
    AuditFinished,
    ReceiveBlock,
    ReceiveEstimate,
    ReceiveTransaction,
    StartAudit,
    Tick,
    Verdict,
)
from fedcoin.consensus.posap import PoSap, PoSapSettings
from fedcoin.consensus.side_blocks import MAX_PER_WINNER, WINDOW_MS
from fedcoin.consensus.transition import execute
from fedcoin.consensus.verify import Parent
from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError, TooManyBlocks
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.ledger.genesis import genesis_state
from fedcoin.shapley.distance import within_distance
from tests.support.blocks import adopted, reseal, resign, settled_network
from tests.support.network import MINERS, PARAMS, REQUESTER, Network
from tests.support.watcher import Watcher

HONEST, CONVICTED, UNAVAILABLE = Verdict.HONEST, Verdict.CONVICTED, Verdict.UNAVAILABLE


@pytest.fixture(scope="module")
def network() -> Network:
    return settled_network(miners=4, rounds=8)


@pytest.fixture
def blocks(network: Network) -> list[Block]:
    return adopted(network.nodes[0].posap.chain)


def test_a_fresh_block_waits_for_its_audit(network: Network, blocks: list[Block]) -> None:
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0]))
    node.step(Tick())
    assert node.height == 0
    assert len(node.audits) == 1, "one audit at a time"
    effects = node.judge(node.audits[0])
    assert any(isinstance(effect, AdoptChain) for effect in effects)


def test_an_audit_covers_the_whole_certificate_with_privately_drawn_leaves(
    network: Network, blocks: list[Block]
) -> None:
    drawn = []
    for seed in (1, 2):
        node = Watcher(network, audit_leaves=3)
        node.posap._candidates._rng = random.Random(seed)
        node.step(ReceiveBlock(blocks[0]))
        audit = node.audits[0].audit
        assert [item.estimate for item in audit.items] == list(blocks[0].certificate)
        assert audit.problem == network.genesis.problem
        for item in audit.items:
            assert len(set(item.indices)) == min(3, max(2, item.estimate.time // ITERATIONS_PER_LEAF))
            assert all(0 <= index < item.estimate.time for index in item.indices)
        drawn.append([item.indices for item in audit.items])
    assert drawn[0] != drawn[1]


def test_an_audit_without_leaves_is_tried_again_after_a_pause(network: Network, blocks: list[Block]) -> None:
    node = Watcher(network, audit_retry_ms=1_000)
    node.step(ReceiveBlock(blocks[0]))
    node.judge(node.audits[0], winner=UNAVAILABLE)
    node.now += 999
    node.step(Tick())
    assert len(node.audits) == 1
    node.now += 1
    node.step(Tick())
    assert len(node.audits) == 2
    assert node.height == 0


def test_patience_ends_when_nobody_hands_out_leaves(network: Network, blocks: list[Block]) -> None:
    node = Watcher(network, patience_ms=10_000)
    node.step(ReceiveBlock(blocks[0]))
    node.now += 10_000
    node.step(Tick())
    assert node.height == 0
    node.now += 1
    node.step(Tick())
    assert node.height == 1


def test_a_child_buries_its_parent(network: Network, blocks: list[Block]) -> None:
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0]))
    node.step(ReceiveBlock(blocks[1]))
    assert node.height == 1


def test_a_convicted_block_stays_out_until_the_network_has_built_much_on_it(
    network: Network, blocks: list[Block]
) -> None:
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0]))
    node.judge(node.audits[0], winner=CONVICTED)
    for number in range(1, BURIED_CONVICTED):
        node.step(ReceiveBlock(blocks[number]))
        assert node.height == 0
    node.step(ReceiveBlock(blocks[BURIED_CONVICTED]))
    assert node.height == BURIED_CONVICTED


def test_a_conviction_is_not_outwaited(network: Network, blocks: list[Block]) -> None:
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0]))
    node.judge(node.audits[0], winner=CONVICTED)
    node.now += 10**9
    node.step(Tick())
    assert node.height == 0


def test_a_conviction_of_ours_yields_once_the_network_stands_still(network: Network, blocks: list[Block]) -> None:
    """Its leaves were drawn at random: others may have found the block honest, work on it, and lack us for a quorum."""
    node = Watcher(network, stall_ms=20_000)
    node.step(ReceiveBlock(blocks[0]))
    node.judge(node.audits[0], winner=CONVICTED)
    for other in blocks[0].certificate[1:3]:
        audit = {"kind": RaceKind.AUDIT, "task": network.genesis.problem.id(), "parent": blocks[0].id()}
        node.step(ReceiveEstimate(resign(network.chain_id, other, **audit)))
    node.now += 19_999
    node.step(Tick())
    assert node.height == 0
    node.now += 1
    node.step(Tick())
    assert node.height == 1


def test_only_a_tip_without_a_quorum_on_which_somebody_works_is_stuck(network: Network) -> None:
    node = Watcher(network)
    node.step(Tick())
    ties, own = node.posap._tips.ties, MINERS[7].public_key
    one, two, three, _ = network.genesis.miners
    later = node.now + 20_000
    assert ties.is_stuck({own, one, two}, later)
    assert not ties.is_stuck({own, one, two}, later - 1)
    assert not ties.is_stuck({own, one, two, three}, later)
    assert not ties.is_stuck({one, two}, later), "others work elsewhere or not at all, and we have nothing to do"


def test_a_forger_in_the_certificate_who_gained_nothing_does_not_hold_up_the_block(
    network: Network, blocks: list[Block]
) -> None:
    """With one of three others away, quorum (3 of 4) and distance may still hold; then the block stands."""
    height, block = next((at, found) for at, found in enumerate(blocks) if len(found.certificate) == 4)
    winner, *others = block.certificate
    for spared in others:
        rest = [estimate for estimate in others if estimate is not spared]
        stands = within_distance(winner.total, winner.time, *averaged_of(rest), 2, block.header.difficulty)
        node = Watcher(network)
        for earlier in blocks[:height]:
            node.step(ReceiveBlock(earlier))
            node.judge(node.audits[-1])
        node.step(ReceiveBlock(block))
        verdicts = {e.miner: CONVICTED if e is spared else HONEST for e in block.certificate}
        node.step(AuditFinished(node.audits[-1].audit, verdicts))
        assert (node.height == height + 1) is stands


def test_a_convicted_miners_estimates_are_not_taken(network: Network, blocks: list[Block]) -> None:
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0]))
    node.judge(node.audits[0], others=CONVICTED)
    race = next(iter(node.posap.races._races.values()))
    assert blocks[0].certificate[1].miner not in race.others
    with pytest.raises(FedCoinError) as caught:
        node.step(ReceiveEstimate(blocks[0].certificate[1]))
    assert caught.value.code == "MINER_CONVICTED"


def test_alg2_line3_a_block_far_from_our_s_waits_until_estimates_bring_us_there(
    network: Network, blocks: list[Block]
) -> None:
    """Condition 2 depends on what a node has heard, so a failure is not for good."""
    block, chain_id = blocks[0], network.chain_id
    node = Watcher(network)
    heavy = block.certificate[1]
    time = 10 * heavy.time
    away = resign(chain_id, heavy, time=time, total=tuple(10**9 * time for _ in heavy.total))
    node.step(ReceiveEstimate(away))
    node.step(ReceiveBlock(block))
    node.judge(node.audits[0])
    assert node.height == 0
    back = resign(chain_id, heavy, time=2 * time, total=tuple(20 * value for value in heavy.total))
    effects = node.step(ReceiveEstimate(back))
    assert any(isinstance(effect, AdoptChain) for effect in effects)


def test_a_promised_child_saves_the_audit_only_for_a_while(network: Network, blocks: list[Block]) -> None:
    """During sync only the last block is audited; but who promises a child and hands out none gains nothing."""
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0], more_follows=True))
    assert node.audits == []
    node.now += CHILD_GRACE_MS
    node.step(Tick())
    assert len(node.audits) == 1
    assert node.height == 0


def test_an_audit_block_on_a_fresh_task_block_is_audited_on_its_own_branchs_problem(network: Network) -> None:
    """The tip's problem is another one. Audited on that, every honest miner would be convicted."""
    net = settled_network(seed=3)
    transfer = sign_transaction(REQUESTER, net.chain_id, 1, 1, Transfer(MINERS[0].address, 1))
    net.feed(net.nodes[0], ReceiveTransaction(transfer))
    net.run(lambda: min(net.heights()) == 3 and net.agree())
    first, task_block, last = adopted(net.nodes[0].posap.chain)
    assert task_block.task is not None
    assert last.task is None
    node = Watcher(net)
    node.step(ReceiveBlock(first))
    node.step(ReceiveBlock(task_block, more_follows=True))
    node.step(ReceiveBlock(last))
    assert node.audits[-1].audit.block == last.id()
    assert node.audits[-1].audit.problem == task_block.task.problem
    assert node.audits[-1].audit.problem != net.genesis.problem


def test_estimates_on_a_block_that_waits_for_its_audit_are_not_lost(network: Network, blocks: list[Block]) -> None:
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0]))
    audit = RaceKind.AUDIT
    early = resign(
        network.chain_id, blocks[0].certificate[1], kind=audit, task=network.genesis.problem.id(), parent=blocks[0].id()
    )
    node.step(ReceiveEstimate(early))
    node.judge(node.audits[0])
    assert node.height == 1
    race = node.posap.races.of_estimate(early)
    assert race is not None
    assert race.others == {early.miner: early}


def test_a_restart_does_not_adopt_what_was_not_audited(network: Network, blocks: list[Block]) -> None:
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0]))
    node.storage.blocks[blocks[0].id()] = blocks[0]
    again = PoSap(
        network.genesis,
        node.storage,
        MINERS[7],
        random.Random(1),
        PoSapSettings(mine=False),
        node.storage.stored_chain(),
    )
    effects = again.step(Tick(), node.now)
    assert again.chain.height == 0
    assert any(isinstance(effect, StartAudit) for effect in effects)


def test_our_own_block_needs_no_audit(blocks: list[Block]) -> None:
    candidates = Candidates(blocks[0].header.winner, PARAMS, random.Random(1), PoSapSettings())
    candidates.add(blocks[0].id(), 0, child_follows=False)
    assert candidates.burial_needed(blocks[0], None, 0) == 0


def test_one_winner_cannot_flood_the_tree(network: Network, blocks: list[Block]) -> None:
    """A winning certificate gives as many valid blocks as there are timestamps."""
    node = Watcher(network)
    variants = [reseal(blocks[0], timestamp=blocks[0].header.timestamp + 1 + n) for n in range(MAX_PER_WINNER + 1)]
    for variant in variants[:-1]:
        node.step(ReceiveBlock(_with_state_root(network, variant)))
    with pytest.raises(TooManyBlocks):
        node.step(ReceiveBlock(_with_state_root(network, variants[-1])))
    node.now += WINDOW_MS
    node.step(ReceiveBlock(_with_state_root(network, variants[-1])))


def _with_state_root(network: Network, block: Block) -> Block:
    genesis = network.genesis
    parent = Parent(genesis.id(), 0, genesis.timestamp)
    after = execute(genesis_state(genesis), block, parent, genesis.id(), genesis.params)
    return reseal(block, state_root=after.root())


def test_a_winner_that_hands_out_no_leaves_holds_nobody_up_after_the_first_audit(
    network: Network, blocks: list[Block]
) -> None:
    node = Watcher(network)
    node.step(ReceiveBlock(blocks[0]))
    audit = node.audits[0].audit
    assert node.posap._contender_waits(node.now)
    node.step(AuditFinished(audit, dict.fromkeys([e.miner for e in blocks[0].certificate], Verdict.UNAVAILABLE)))
    assert not node.posap._contender_waits(node.now)
