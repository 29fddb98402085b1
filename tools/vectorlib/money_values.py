"""Divisions, prices of rounds, payouts, and the difficulty rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fedcoin.consensus.difficulty import eased_difficulty, expected_difficulty, race_interval, record_interval
from fedcoin.core.params import CHAIN_PARAMS, UTILITY_SCALE
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import ORDER, Order, Schedule
from fedcoin.ledger.prices import divide, round_prices
from fedcoin.ledger.settlement import client_payouts
from fedcoin.ledger.state import State
from vectorlib.json_values import big, bigs, to_json
from vectorlib.people import PARAMS, order

Json = dict[str, Any]


def prices_settlement() -> Json:
    """§4.3: what each round pays, and whom."""
    divisions: list[tuple[int, tuple[int, ...]]] = [
        (0, (7, 1, 2)),
        (1, (1, 1)),
        (10, (7, 1, 2)),
        (11, (7, 1, 2)),
        (100, (1, 1, 1)),
        (101, (1, 1, 1)),
        (7, (0, 5, 0, 5)),
        (2**63 - 1, (3, 3, 3, 1)),
        (1000, (10**19, 10**19 + 1, 1)),
    ]
    geometric: dict[str, object] = {"schedule": Schedule.GEOMETRIC}
    orders = {
        "equal": order(),
        "one round": order(rounds=1),
        "one unit a round": order(amount=3),
        "all to the clients": order(train_share=1, com_share=0, sap_share=0),
        "largest amount": order(amount=2**63 - 1, rounds=7),
        "geometric 9/10": order(**geometric, ratio_numerator=9, ratio_denominator=10, rounds=10),
        "geometric 1/2": order(**geometric, ratio_numerator=1, ratio_denominator=2, rounds=5, amount=1_000_003),
        "geometric 6/8, not in lowest terms": order(**geometric, ratio_numerator=6, ratio_denominator=8, rounds=4),
        "geometric 1/1": order(**geometric, ratio_numerator=7, ratio_denominator=7, rounds=3),
    }
    payouts: list[tuple[int, tuple[int, ...]]] = [
        (100, (1, 1, 1)),
        (100, (5, -3, 5)),
        (100, (0, -1)),
        (100, (1,)),
        (0, (3, 4)),
        (7, (2**62, 2**62, 1)),
        (70_000_000_001, (123_456_789, 987_654_321, 5, -(10**12))),
    ]
    return {
        "divisions": [
            {"amount": big(amount), "weights": bigs(weights), "parts": bigs(divide(amount, weights))}
            for amount, weights in divisions
        ],
        "orders": [_prices(name, item) for name, item in orders.items()],
        "payouts": [
            {"train_price": big(price), "averaged_total": bigs(total), "payouts": bigs(client_payouts(price, total))}
            for price, total in payouts
        ],
    }


def _prices(name: str, item: Order) -> Json:
    rounds = round_prices(item)
    return {
        "name": name,
        "order": to_json(ORDER, item),
        "rounds": [{"train": big(r.train), "com": big(r.com), "sap": big(r.sap)} for r in rounds],
    }


def difficulty() -> Json:
    """§4.2: D after each block of a kind, and the interval that a block counts for."""
    intervals = {
        "on target": [30_000] * 6,
        "twice too fast": [15_000] * 6,
        "far too fast: at most a factor of 2 in hardness": [10] * 5,
        "far too slow: at most a factor of 2 in hardness": [10_000_000] * 5,
        "changing": [5_000, 40_000, 31_000, 1, 29_999, 120_000, 60_000, 30_000],
    }
    tight = replace(PARAMS, min_difficulty=PARAMS.initial_difficulty - 1_000_000)
    runs = [(name, values, PARAMS) for name, values in intervals.items()]
    runs.append(("bounded by min_difficulty", [10] * 4, tight))
    openings = [
        (1000, 400, (500,)),
        (1000, 400, (500, 700, 900)),
        (1000, 400, (900, 500)),
        (1000, 400, (100, 200, 300, 350)),
        (1000, 400, (5000, 6000)),
    ]
    target = PARAMS.target_interval_ms
    lasting = [1, 5 * target - 1, 5 * target, 6 * target, 7 * target + 1, 1000 * target]
    result = []
    for name, values, params in runs:
        state, steps = State(), []
        for interval in values:
            now = expected_difficulty(state, RaceKind.TASK, params)
            record_interval(state, RaceKind.TASK, now, interval, params)
            after = expected_difficulty(state, RaceKind.TASK, params)
            steps.append({"difficulty": big(now), "interval": big(interval), "next": big(after)})
        result.append({"name": name, "params": to_json(CHAIN_PARAMS, params), "steps": steps})
    return {
        "scale": big(UTILITY_SCALE),
        "runs": result,
        "eased": [
            {
                "params": to_json(CHAIN_PARAMS, PARAMS),
                "difficulty": big(PARAMS.initial_difficulty),
                "interval": big(interval),
                "eased": big(eased_difficulty(PARAMS.initial_difficulty, RaceKind.TASK, interval, PARAMS)),
            }
            for interval in lasting
        ],
        "intervals": [
            {
                "timestamp": big(timestamp),
                "parent_timestamp": big(parent),
                "opened_at": bigs(values),
                "interval": big(race_interval(timestamp, parent, values)),
            }
            for timestamp, parent, values in openings
        ],
    }
