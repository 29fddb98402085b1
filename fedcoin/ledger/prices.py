"""How V is divided: by the division contract, then over the rounds by the schedule (§4.3, Alg. 3 line 2).

Divisions are by largest remainder, so the parts always add up to the whole, to the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

from fedcoin.core.transaction import Order, Schedule


@dataclass(frozen=True)
class RoundPrices:
    """What one round pays, in units."""

    train: int
    """TrainPrice: to the clients."""
    com: int
    """ComPrice: to the FL server."""
    sap: int
    """SapPrice: to the block winner."""

    @property
    def total(self) -> int:
        """What leaves the escrow when the round is settled."""
        return self.train + self.com + self.sap


def divide(amount: int, weights: Sequence[int]) -> tuple[int, ...]:
    """`amount` units in proportion to the weights, by largest remainder, ties to the lower index.

    Weights are not negative and not all 0. Each part is ⌊amount·w/Σw⌋ or one unit more; they sum to `amount`.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0 or amount < 0:
        raise ValueError("an amount ≥ 0 is divided by weights ≥ 0 that are not all 0")
    parts = [amount * weight // whole for weight in weights]
    remainders = [amount * weight % whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-remainders[i], i))
    for i in by_remainder[: amount - sum(parts)]:
        parts[i] += 1
    return tuple(parts)


def schedule_weights(order: Order) -> tuple[int, ...]:
    """One weight a round: all 1, or num^r · den^(R−1−r) for a ratio num/den."""
    rounds = order.rounds
    if order.schedule is Schedule.EQUAL:
        return (1,) * rounds
    common = gcd(order.ratio_numerator, order.ratio_denominator)
    numerator, denominator = order.ratio_numerator // common, order.ratio_denominator // common
    return tuple(numerator**r * denominator ** (rounds - 1 - r) for r in range(rounds))


@lru_cache(maxsize=1024)
def round_prices(order: Order) -> tuple[RoundPrices, ...]:
    """Prices of each round of an order whose terms are valid; all together sum to V."""
    weights = schedule_weights(order)
    totals = divide(order.amount, (order.train_share, order.com_share, order.sap_share))
    train, com, sap = (divide(total, weights) for total in totals)
    return tuple(RoundPrices(*prices) for prices in zip(train, com, sap, strict=True))
