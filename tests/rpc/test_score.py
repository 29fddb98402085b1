"""Points for misbehaviour, bans, and that both pass."""

from __future__ import annotations

import pytest

from fedcoin.rpc.errors import known_errors
from fedcoin.rpc.score import ONCE_A_SECOND, POINTS, BanRule, Scores

RULE = BanRule(threshold=100, half_life=60, seconds=300, remembered=3)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scores(clock: Clock) -> Scores:
    return Scores(RULE, clock)


def test_a_forger_is_banned_and_comes_back_when_the_pause_is_over(scores: Scores, clock: Clock) -> None:
    assert [scores.charge("a", "INVALID_SIGNATURE") for _ in range(4)] == [False, False, False, True]
    assert scores.banned_for("a") == 300
    assert scores.banned() == ["a"]
    assert scores.banned_for("b") == 0
    clock.now += 299
    assert scores.banned_for("a") == 1
    clock.now += 1
    assert scores.banned_for("a") == 0
    assert scores.banned() == []


def test_who_comes_back_from_a_ban_has_less_left(scores: Scores, clock: Clock) -> None:
    while not scores.charge("a", "INVALID_SIGNATURE"):
        pass
    assert scores.points("a") == 50
    clock.now += 300
    assert 0 < scores.points("a") < 2


def test_points_halve_with_time(scores: Scores, clock: Clock) -> None:
    for _ in range(3):
        scores.charge("a", "INVALID_SIGNATURE")
    clock.now += 60
    assert scores.points("a") == pytest.approx(37.5)
    for _ in range(1000):  # a fault every two half-lives never adds up
        clock.now += 120
        assert not scores.charge("a", "INVALID_SIGNATURE")


@pytest.mark.parametrize(
    "code",
    [
        *("UNKNOWN_PARENT", "UNKNOWN_RACE", "TASK_STALE", "BELOW_FINALITY", "TIMESTAMP_IN_FUTURE", "INVALID_ANCESTOR"),
        *("NONCE_USED", "NONCE_TOO_HIGH", "TRANSACTION_KNOWN", "INSUFFICIENT_FUNDS", "MEMPOOL_FULL", "FEE_TOO_LOW"),
        *("STATE_ROOT_MISMATCH", "SETTLEMENT_MISMATCH", "WRONG_DIFFICULTY", "QUORUM_MISSING", "MINER_CONVICTED"),
        *("TOO_MANY_BLOCKS", "BLOB_NOT_WANTED", "REQUEST_EXPIRED", "INTERNAL", "NODE_BUSY", "TIME_LIMIT_EXCEEDED"),
    ],
)
def test_what_honest_nodes_cause_or_relay_costs_nothing(scores: Scores, code: str) -> None:
    assert code in known_errors() or code == "INTERNAL"
    assert not any(scores.charge("a", code) for _ in range(1000))
    assert len(scores) == 0


def test_every_code_that_costs_points_is_an_errors() -> None:
    assert POINTS.keys() - known_errors().keys() == set()
    assert POINTS.keys() >= ONCE_A_SECOND
    assert all(cost > 0 for cost in POINTS.values())


def test_a_burst_beyond_the_rate_is_no_crime_but_going_on_is(scores: Scores, clock: Clock) -> None:
    assert not any(scores.charge("a", "RATE_LIMITED") for _ in range(10_000))
    assert scores.points("a") == 1
    long = Scores(BanRule(threshold=100, half_life=600), clock)
    seconds = 0
    while not long.charge("a", "RATE_LIMITED"):
        clock.now += 1
        seconds += 1
    assert 100 <= seconds <= 120


def test_a_banned_peer_is_not_banned_anew_while_it_is_banned(scores: Scores, clock: Clock) -> None:
    while not scores.charge("a", "INVALID_SIGNATURE"):
        pass
    clock.now += 100
    assert not any(scores.charge("a", "INVALID_SIGNATURE") for _ in range(10))
    assert scores.banned_for("a") == 200


def test_only_so_many_peers_are_remembered(scores: Scores) -> None:
    for number in range(100):
        scores.charge(f"peer {number}", "MALFORMED_ENCODING")
    assert len(scores) == 3
    assert scores.points("peer 99") == 5
    assert scores.points("peer 0") == 0


def test_a_length_of_zero_bans_nobody(clock: Clock) -> None:
    scores = Scores(BanRule(seconds=0), clock)
    assert not any(scores.charge("a", "INVALID_SIGNATURE") for _ in range(100))
    assert scores.banned_for("a") == 0
