"""Algorithm 1, line by line."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from fedcoin.consensus.messages import (
    AdoptChain,
    AuditFinished,
    IterationsDone,
    ReceiveBlock,
    ReceiveEstimate,
    ReceiveTransaction,
    SendBlock,
    SendEstimate,
    StartAudit,
    StartRace,
    StopRace,
    StoreBlock,
    StoreLeaves,
    Verdict,
)
from fedcoin.consensus.posap import PoSap
from fedcoin.core.errors import DistanceTooLarge, LeavesOutOfOrder, MalformedLeaf
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.merkle import merkle_root
from fedcoin.core.transaction import sign_transaction
from fedcoin.shapley.leaves import encode_leaf
from fedcoin.shapley.permutations import permutation
from tests.support.blocks import adopted, network_won_by_another, reseal, settled_network
from tests.support.game import play, worth
from tests.support.network import MINERS, PARAMS, REQUESTER, START, MemoryStorage, make_genesis, order_body
from tests.support.races import estimate_in, make_race

NOW = START + 5_000


def start(miners: int = 3, **changes: object) -> tuple[PoSap, StartRace]:
    """A miner that has a reason to mine, and the race that it was told to start."""
    genesis = make_genesis(miners, **changes)
    posap = PoSap(genesis, MemoryStorage(genesis), MINERS[0], random.Random(1))
    order = sign_transaction(REQUESTER, genesis.id(), 0, 1, order_body())
    effects = posap.step(ReceiveTransaction(order), NOW)
    return posap, next(effect for effect in effects if isinstance(effect, StartRace))


def others_estimate(
    posap: PoSap, race: StartRace, miner: int, time: int, total: tuple[int, ...] | None = None
) -> Estimate:
    info = replace(race.info, miner=MINERS[miner].public_key)
    leaves = play(info, 0, time)
    known = posap.races.get(race.info.race)
    assert known is not None
    bare = Estimate(
        known.terms.kind,
        known.terms.task_hash,
        known.terms.parent,
        MINERS[miner].public_key,
        time,
        tuple(int(value) for value in leaves.sum(axis=0)),
        merkle_root([encode_leaf(row) for row in np.cumsum(leaves, axis=0)]),
        NOW,
        b"",
    )
    return sign_estimate(MINERS[miner], posap.chain.chain_id, bare)


def test_alg1_line1_line2_s_and_time_begin_at_zero() -> None:
    posap, race = start()
    log = posap.races.get(race.info.race).log  # type: ignore[union-attr]
    assert (log.total, log.time, race.start) == ((0, 0, 0, 0), 0, 0)


def test_alg1_line3_a_block_that_fails_verification_does_not_stop_the_race() -> None:
    network = settled_network()
    block = adopted(network.nodes[0].posap.chain)[0]
    posap, race = start()
    posap.step(IterationsDone(race.info.race, 0, play(race.info, 0, 3)), NOW)
    header = block.header
    too_far = tuple(value + 10**12 for value in header.winner_total)
    certificate = (replace(block.certificate[0], total=too_far), *block.certificate[1:])
    forged = reseal(block, certificate=certificate, winner_total=too_far)
    with pytest.raises(DistanceTooLarge):
        posap.step(ReceiveBlock(forged), NOW + 10**7)
    effects = posap.step(IterationsDone(race.info.race, 3, play(race.info, 3, 3)), NOW + 10**7)
    assert any(isinstance(effect, SendEstimate) and effect.estimate.time == 6 for effect in effects)


def test_alg1_line3_a_valid_block_stops_the_race() -> None:
    network = network_won_by_another()
    (block, *_) = adopted(network.nodes[0].posap.chain)
    posap, _ = start()
    waiting = sign_transaction(REQUESTER, network.chain_id, posap.chain.height, 1, order_body())
    if not posap.mempool.transactions():
        posap.step(ReceiveTransaction(waiting), network.now)
    assert posap.view().race is not None
    now = network.now
    audit = next(e for e in posap.step(ReceiveBlock(block), now) if isinstance(e, StartAudit)).audit
    effects = posap.step(AuditFinished(audit, {i.estimate.miner: Verdict.HONEST for i in audit.items}), now)
    assert any(isinstance(effect, AdoptChain) for effect in effects)
    assert any(isinstance(effect, StopRace | StartRace) for effect in effects)


def test_alg1_line5_ranks_are_drawn_from_race_and_miner() -> None:
    """Nobody chooses permutations: another miner, race or iteration has another rank."""
    race, miner = b"\x01" * 32, MINERS[0].public_key
    drawn = {permutation(race, miner, index, 20) for index in range(50)}
    assert len(drawn) == 50
    assert permutation(race, MINERS[1].public_key, 0, 20) != permutation(race, miner, 0, 20)
    assert permutation(b"\x02" * 32, miner, 0, 20) != permutation(race, miner, 0, 20)


def test_alg1_line6_to_line10_marginals_along_the_rank_sum_to_the_grand_coalition() -> None:
    _, race = start()
    for index, leaf in enumerate(play(race.info, 0, 20)):
        order = permutation(race.info.race, race.info.miner, index, 4)
        assert leaf[order[0]] == worth(order[:1], 4), "line 6"
        assert leaf[order[2]] == worth(order[:3], 4) - worth(order[:2], 4), "lines 7 to 10"
        assert leaf.sum() == worth(order, 4)


def test_alg1_line11_running_mean() -> None:
    posap, race = start()
    leaves = play(race.info, 0, 12)
    mean, time = [Fraction(0)] * 4, 0
    for at in range(0, 12, 3):
        posap.step(IterationsDone(race.info.race, at, leaves[at : at + 3]), NOW)
        for leaf in leaves[at : at + 3]:
            mean = [(s * time + int(s_t)) / (time + 1) for s, s_t in zip(mean, leaf, strict=True)]
            time += 1
        own = posap.estimates(race.info.race)[-1]
        assert [Fraction(total, own.time) for total in own.total] == mean


def test_alg1_line12_time_counts_iterations() -> None:
    race = make_race()
    for start_at, count in ((0, 1), (1, 4), (5, 2)):
        assert race.add_iterations(start_at, np.ones((count, 2), dtype=np.int64)).time == start_at + count


def test_alg1_line12_iterations_count_in_order_and_once() -> None:
    race = make_race()
    race.add_iterations(0, np.ones((3, 2), dtype=np.int64))
    for wrong in (0, 2, 4):
        with pytest.raises(LeavesOutOfOrder):
            race.add_iterations(wrong, np.ones((1, 2), dtype=np.int64))
    with pytest.raises(LeavesOutOfOrder):
        race.add_iterations(3, np.ones((0, 2), dtype=np.int64))
    assert race.log.time == 3


def test_malformed_leaves_count_for_nothing() -> None:
    race = make_race()
    rows = np.ones((3, 2), dtype=np.int64)
    rows[2, 1] = 2**62
    with pytest.raises(MalformedLeaf):
        race.add_iterations(0, rows)
    assert (race.log.time, race.log.total, race.own) == (0, (0, 0), None)


def test_alg1_line13_s_and_time_are_broadcast_after_they_are_stored() -> None:
    posap, race = start()
    leaves = play(race.info, 0, 5)
    effects = posap.step(IterationsDone(race.info.race, 0, leaves), NOW)
    store, send = effects
    assert isinstance(store, StoreLeaves)
    assert isinstance(send, SendEstimate)
    assert (store.start, len(store.leaves)) == (0, 5)
    estimate = send.estimate
    assert estimate.time == 5
    assert estimate.total == tuple(int(value) for value in leaves.sum(axis=0))
    assert estimate.leaf_root == merkle_root([encode_leaf(sums) for sums in np.cumsum(leaves, axis=0)])
    assert estimate.opened_at == NOW
    estimate.verify(posap.chain.chain_id)


def test_iterations_read_back_after_a_restart_are_not_stored_again() -> None:
    posap, race = start()
    effects = posap.step(IterationsDone(race.info.race, 0, play(race.info, 0, 5), stored=True), NOW)
    assert [type(effect) for effect in effects] == [SendEstimate]


def test_alg1_line15_the_latest_estimate_of_each_miner_counts() -> None:
    race = make_race()
    assert race.receive(estimate_in(race, 1, 5, (50, 10)))
    assert not race.receive(estimate_in(race, 1, 4, (9, 9))), "an older one"
    assert not race.receive(estimate_in(race, 1, 5, (9, 9))), "another of the same time"
    assert race.averaged() == ((50, 10), 5)
    assert race.receive(estimate_in(race, 1, 6, (66, 12)))
    assert race.averaged() == ((66, 12), 6)


def test_alg1_line16_time_weighted_mean_over_the_others() -> None:
    race = make_race()
    race.add_iterations(0, np.full((7, 2), 10**9, dtype=np.int64))
    race.receive(estimate_in(race, 1, 1, (10, 0)))
    race.receive(estimate_in(race, 2, 3, (90, 60)))
    total, time = race.averaged()  # type: ignore[misc]
    # Σ time·S / Σ time with S = (10, 0) and (30, 20): (1·10 + 3·30) / 4, (1·0 + 3·20) / 4. Our own S is not in it.
    assert (Fraction(total[0], time), Fraction(total[1], time)) == (Fraction(100, 4), Fraction(60, 4))


def test_alg1_line16_own_estimate_received_back_is_not_averaged() -> None:
    race = make_race()
    assert not race.receive(estimate_in(race, 0, 9, (10, 10)))
    assert race.averaged() is None


@pytest.mark.parametrize(("norm", "bound"), [(1, 7), (2, 5), (0, 4)])
def test_alg1_line17_distance_equal_to_d_wins_and_one_more_does_not(norm: int, bound: int) -> None:
    """S − S̄ = (3, 4): its 1-, 2- and maximum norms are 7, 5 and 4."""
    for difficulty, wins in ((bound, True), (bound - 1, False)):
        race = make_race(difficulty, norm)
        race.add_iterations(0, np.array([[103, 204]], dtype=np.int64))
        race.receive(estimate_in(race, 1, 2, (200, 400)))
        assert race.has_converged(race.terms.difficulty) is wins


def test_alg1_line17_is_exact_where_floats_are_not() -> None:
    race = make_race(difficulty=1)
    race.add_iterations(0, np.full((3, 2), 10**11, dtype=np.int64))
    race.receive(estimate_in(race, 1, 3 * 2**17, (3 * 2**17 * 10**11, 3 * 2**17 * 10**11 + 3 * 2**17)))
    assert race.has_converged(race.terms.difficulty)
    race.receive(estimate_in(race, 1, 3 * 2**17 + 1, ((3 * 2**17 + 1) * 10**11, (3 * 2**17 + 1) * (10**11 + 1) + 1)))
    assert not race.has_converged(race.terms.difficulty)


def test_alg1_line17_needs_an_s_of_the_others_and_one_of_our_own() -> None:
    race = make_race(difficulty=10**15)
    race.receive(estimate_in(race, 1, 1, (0, 0)))
    assert not race.has_converged(race.terms.difficulty)
    alone = make_race(difficulty=10**15)
    alone.add_iterations(0, np.ones((1, 2), dtype=np.int64))
    assert not alone.has_converged(alone.terms.difficulty)


def test_alg1_line15_to_line20_on_receiving_s_the_winner_stores_then_adopts_then_broadcasts() -> None:
    posap, race = start(initial_audit_difficulty=PARAMS.max_difficulty)
    posap.step(IterationsDone(race.info.race, 0, play(race.info, 0, 5)), NOW)
    effects = posap.step(ReceiveEstimate(others_estimate(posap, race, 1, 4), "peer"), NOW + 7)
    kinds = [type(effect) for effect in effects]
    assert kinds == [SendEstimate, StoreBlock, AdoptChain, SendBlock, StopRace]
    block = effects[3].block  # type: ignore[union-attr]
    assert block.header.previous == posap.chain.chain_id, "line 18: after the longest chain"
    assert posap.chain.tip == block.id()
    assert block.header.timestamp == NOW + 7


def test_alg1_line18_no_block_without_the_quorum() -> None:
    posap, race = start(miners=4, initial_audit_difficulty=PARAMS.max_difficulty)
    posap.step(IterationsDone(race.info.race, 0, play(race.info, 0, 5)), NOW)
    posap.step(ReceiveEstimate(others_estimate(posap, race, 1, 4)), NOW)
    assert posap.chain.height == 0, "2 of 4 are less than two thirds"
    posap.step(ReceiveEstimate(others_estimate(posap, race, 2, 4)), NOW)
    assert posap.chain.height == 1


def test_alg1_line18_the_winner_keeps_its_last_estimate_for_the_certificate() -> None:
    """Sent ahead of the block it would let others win on it as well."""
    posap, race = start(initial_audit_difficulty=PARAMS.max_difficulty)
    posap.step(ReceiveEstimate(others_estimate(posap, race, 1, 4)), NOW)
    effects = posap.step(IterationsDone(race.info.race, 0, play(race.info, 0, 5)), NOW)
    assert [type(effect) for effect in effects] == [StoreLeaves, StoreBlock, AdoptChain, SendBlock, StopRace]
    assert effects[1].block.certificate[0].time == 5  # type: ignore[union-attr]


def test_alg1_line23_to_line26_a_valid_block_is_stored_audited_adopted_and_relayed() -> None:
    network = settled_network()
    block = adopted(network.nodes[0].posap.chain)[0]
    own = next(i for i in range(3) if MINERS[i].public_key != block.header.winner)
    genesis = network.genesis
    posap = PoSap(genesis, MemoryStorage(genesis), MINERS[own], random.Random(1))
    now = block.header.timestamp
    first = posap.step(ReceiveBlock(block, "peer"), now)
    assert [type(effect) for effect in first] == [StoreBlock, SendBlock, StartAudit]
    assert first[1].skip == "peer"  # type: ignore[union-attr]
    assert posap.chain.height == 0
    audit = first[2].audit  # type: ignore[union-attr]
    verdicts = {item.estimate.miner: Verdict.HONEST for item in audit.items}
    adoption = posap.step(AuditFinished(audit, verdicts), now)[0]
    assert isinstance(adoption, AdoptChain)
    assert posap.chain.tip == block.id()
    assert posap.step(ReceiveBlock(block, "other"), now) == [], "known blocks go round once"
