"""A share of a miner's own work goes into checks of what others announce while a race runs."""

from __future__ import annotations

import random

from fedcoin.consensus.candidates import SPOT_CHECK_LIMIT_MS, SpotChecks
from fedcoin.consensus.race import Race
from tests.support.network import MINERS
from tests.support.races import estimate_in, make_race


def race_with_others(times: dict[int, int]) -> Race:
    race = make_race()
    for miner, time in times.items():
        race.receive(estimate_in(race, miner, time, (time, time)))
    return race


def test_spot_checks_cost_the_share_of_our_own_work() -> None:
    race = race_with_others({1: 1_000, 2: 1_000})
    checks, recomputed = SpotChecks(random.Random(5), share=0.05), 0
    for _ in range(400):
        checks.earn(10)
        started = checks.next(race, 0)
        if started:
            (item,) = started.audit.items
            assert started.audit.block is None
            recomputed += len(item.indices)
            checks.finished()
    assert 195 <= recomputed <= 200


def test_spot_checks_reach_every_miner_and_repeat_with_the_same_rng() -> None:
    race = race_with_others({1: 50, 2: 50, 3: 50})

    def draw(seed: int) -> list[tuple[bytes, tuple[int, ...]]]:
        checks, drawn = SpotChecks(random.Random(seed), share=1.0), []
        for _ in range(40):
            checks.earn(2)
            started = checks.next(race, 0)
            assert started is not None
            drawn.append((started.audit.items[0].estimate.miner, started.audit.items[0].indices))
            checks.finished()
        return drawn

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert {miner for miner, _ in draw(1)} == {MINERS[i].public_key for i in (1, 2, 3)}


def test_one_spot_check_at_a_time_and_a_lost_one_does_not_end_them() -> None:
    race = race_with_others({1: 50})
    checks = SpotChecks(random.Random(1), share=1.0)
    checks.earn(20)
    assert checks.next(race, 0) is not None
    assert checks.next(race, SPOT_CHECK_LIMIT_MS - 1) is None
    assert checks.next(race, SPOT_CHECK_LIMIT_MS) is not None


def test_no_spot_check_without_credit_or_others() -> None:
    checks = SpotChecks(random.Random(1), share=0.1)
    checks.earn(9)
    assert checks.next(race_with_others({1: 5}), 0) is None
    checks.earn(2)
    assert checks.next(race_with_others({}), 0) is None
