"""§4.2: D moves so that a block takes τ, whatever power the miners have."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import pytest

from fedcoin.consensus.difficulty import (
    HARDNESS_ONE,
    eased_difficulty,
    expected_difficulty,
    race_interval,
    record_interval,
)
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import RaceKind
from fedcoin.ledger.state import State
from tests.support.network import PARAMS, Network, make_genesis, place_order

WIDE = replace(PARAMS, min_difficulty=1, max_difficulty=UTILITY_SCALE << 16)
D0 = UTILITY_SCALE // 10


def after(*blocks: tuple[int, int], params=WIDE, kind: RaceKind = RaceKind.TASK) -> int:  # type: ignore[no-untyped-def]
    """D after blocks of (D, Δ ms)."""
    state = State()
    for difficulty, interval in blocks:
        record_interval(state, kind, difficulty, interval, params)
    return expected_difficulty(state, kind, params)


def hardness(difficulty: int) -> int:
    return HARDNESS_ONE // difficulty**2


def test_the_first_block_of_each_kind_has_the_initial_difficulty() -> None:
    assert after() == PARAMS.initial_difficulty
    assert after(kind=RaceKind.AUDIT) == PARAMS.initial_audit_difficulty


def test_a_block_in_time_leaves_d_as_it_is() -> None:
    assert abs(after((D0, 5_000)) - D0) <= 1


def test_section42_faster_blocks_make_d_smaller_and_slower_ones_larger() -> None:
    """More iterations are needed for a smaller D: the paper's "difficulty increases" is D going down."""
    assert after((D0, 4_000)) < D0 < after((D0, 6_000))


def test_h_moves_in_proportion_over_the_window() -> None:
    """h' = τ·Σh / ΣΔ."""
    blocks = ((D0, 4_000), (D0 + 10**6, 7_000), (D0, 6_000))
    total = sum(hardness(d) for d, _ in blocks)
    assert after(*blocks) == isqrt(HARDNESS_ONE // (5_000 * total // 17_000))


def test_h_at_most_doubles_or_halves() -> None:
    assert after((D0, 1)) == isqrt(HARDNESS_ONE // (2 * hardness(D0)))
    assert after((D0, 10**9)) == isqrt(HARDNESS_ONE // (hardness(D0) // 2))


def test_d_stays_within_its_bounds() -> None:
    params = replace(WIDE, min_difficulty=D0 - 5, max_difficulty=D0 + 5)
    assert after((D0, 1), params=params) == D0 - 5, "D_min caps the work that one block can cost (§6.3)"
    assert after((D0, 10**9), params=params) == D0 + 5


@pytest.mark.parametrize("difficulty", [1, UTILITY_SCALE << 16])
def test_extreme_difficulties_neither_overflow_nor_divide_by_zero(difficulty: int) -> None:
    for interval in (1, 2**63):
        assert 1 <= after((difficulty, interval)) <= UTILITY_SCALE << 16


def test_only_the_last_w_blocks_count() -> None:
    recent = [(D0, 5_000 + 10 * number) for number in range(WIDE.difficulty_window)]
    assert after((D0, 10**6), *recent) == after(*recent)
    assert after((D0, 10**6), *recent[1:]) != after(*recent)


def test_kinds_do_not_move_each_other() -> None:
    state = State()
    record_interval(state, RaceKind.AUDIT, D0, 1, WIDE)
    assert expected_difficulty(state, RaceKind.TASK, WIDE) == WIDE.initial_difficulty
    assert expected_difficulty(state, RaceKind.AUDIT, WIDE) < D0


def test_idle_time_does_not_count() -> None:
    """Δ runs from the opening of the race, not from the block before."""
    parent, opened, found = 1_000, 3_600_000, 3_605_000
    assert race_interval(found, parent, [opened] * 3) == 5_000


def test_an_opening_before_the_parent_counts_from_the_parent() -> None:
    assert race_interval(9_000, 4_000, [0, 0, 0]) == 5_000


@pytest.mark.parametrize(
    ("openings", "median"), [([5], 5), ([1, 9], 1), ([9, 1, 5], 5), ([1, 2, 8, 9], 2), ([0, 7, 7, 2**64 - 1], 7)]
)
def test_the_lower_median_of_the_openings_counts(openings: list[int], median: int) -> None:
    assert race_interval(100, 0, openings) == 100 - median


def test_one_liar_does_not_move_the_opening_beyond_the_honest() -> None:
    honest = [50, 52]
    for lie in (0, 10**6):
        assert 100 - 52 <= race_interval(100, 0, [*honest, lie]) <= 100 - 50


def test_an_interval_is_at_least_a_millisecond() -> None:
    assert race_interval(100, 0, [200, 300]) == 1


def test_difficulty_eases_after_four_intervals_and_not_before() -> None:
    tau = PARAMS.target_interval_ms
    base = UTILITY_SCALE // 100
    assert eased_difficulty(base, RaceKind.TASK, 5 * tau - 1, PARAMS) == base
    once = eased_difficulty(base, RaceKind.TASK, 5 * tau, PARAMS)
    assert once == isqrt(HARDNESS_ONE // (HARDNESS_ONE // base**2 // 2))
    assert eased_difficulty(base, RaceKind.TASK, 6 * tau, PARAMS) == pytest.approx(2 * base, rel=1e-6)


def test_difficulty_never_eases_beyond_d_max() -> None:
    assert eased_difficulty(UTILITY_SCALE // 100, RaceKind.TASK, 10**15, PARAMS) == PARAMS.max_difficulty


def test_section6_3_a_race_that_is_far_too_hard_ends() -> None:
    """D = 10^-6 would take some 10^10 iterations; the network settles within a few τ all the same."""
    network = Network(make_genesis(3, initial_audit_difficulty=1_000, min_difficulty=1), nodes=3)
    place_order(network, network.nodes[0])
    network.run(lambda: min(network.heights()) >= 1 and network.agree(), limit_ms=60 * PARAMS.audit_interval_ms)
    block = network.nodes[0].posap.chain.block(network.nodes[0].posap.chain.tip)
    assert block.header.difficulty > 1_000
