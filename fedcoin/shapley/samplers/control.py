"""The hybrid sampler's control variate: what the exactly known small coalitions say about larger ones.

For a coalition C of a size in tier t,

    g(C) = α_t + β_t · (mean of v over the pairs of members of C).

α_t and β_t are fitted by least squares to a few pilot coalitions, which are the same for all miners. The Shapley
values of g follow from the pairs in closed form; so a leaf is g's exact contribution plus an estimate of what v − g
contributes, and is unbiased whatever α_t and β_t are. All in integers, so that every language computes the same from
the same utilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.params import UTILITY_SCALE
from fedcoin.shapley.samplers.hybrid_plan import Tier
from fedcoin.shapley.walks import Values

FRACTION_BITS = 16
"""Leaves are summed in 1/2^16 of their unit, and slopes are in 1/2^16."""

STEEPEST = 8 << FRACTION_BITS
"""Bound of a slope, which keeps all products within int64."""

FLAT = UTILITY_SCALE // 1000
"""Pair means count as if they spread by this much more (root mean square, added in squares).

Where they hardly differ, the rounding of this very device would decide on the slope, and with it on every leaf. Where
they tell something they differ by far more, and the slope stays what it is.
"""

_HARMONIC_BITS = 32


@dataclass(frozen=True)
class Slope:
    """g of a tier, in 1/2^16."""

    offset: int
    """α."""
    slope: int
    """β."""


def pair_means(members: NDArray[np.int64], pairs: Values, first: int) -> Values:
    """Mean value of the pairs within the prefixes of walks, rounded down: int64 [walks, L − first + 1].

    `members` are walks of L clients, int64 [walks, L]; `pairs` the values of pairs, int64 [K, K], symmetric with zeros
    on the diagonal; the prefixes are those of sizes `first` to L.
    """
    length = members.shape[1]
    joining = np.tril(pairs[members[:, :, None], members[:, None, :]]).sum(axis=2)
    sizes = np.arange(first, length + 1)
    return np.asarray(joining.cumsum(axis=1)[:, first - 1 :] // (sizes * (sizes - 1) // 2), dtype=np.int64)


def fit(means: Sequence[int], values: Sequence[int]) -> Slope:
    """Least squares of `values` on `means`, rounded down; the slope is drawn to 0 where means hardly differ (FLAT)."""
    count = len(means)
    if not count:
        return Slope(0, 0)
    x, y = sum(means), sum(values)
    spread = count * sum(mean * mean for mean in means) - x * x + (count * FLAT) ** 2
    common = count * sum(mean * value for mean, value in zip(means, values, strict=True)) - x * y
    slope = max(-STEEPEST, min(STEEPEST, (common << FRACTION_BITS) // spread))
    return Slope(((y << FRACTION_BITS) - slope * x) // count, slope)


def exact_part(
    singles: Sequence[int], pairs: Values, whole: int, empty_value: int, tiers: Sequence[Tier], slopes: Sequence[Slope]
) -> NDArray[np.int64]:
    """What sizes 0, 1, 2 and K of v and all other sizes of g contribute to the Shapley values, in 1/2^16: int64 [K].

    (v(N) − v(∅)) / K + (1/K) · Σ_s (mean of v over the C ∋ i of size s − mean over the C ∌ i). For the mean value of a
    coalition's pairs the difference is 2/s times that of size 2.
    """
    clients = len(singles)
    harmonic = 1 << FRACTION_BITS + _HARMONIC_BITS
    for tier, fitted in zip(tiers, slopes, strict=True):
        harmonic += fitted.slope * sum((2 << _HARMONIC_BITS) // size for size in tier.sizes)
    common = ((whole - empty_value) << FRACTION_BITS) // clients
    all_singles = sum(singles)
    of_client: list[int] = pairs.sum(axis=1).tolist()
    all_pairs = sum(of_client)
    result = np.empty(clients, dtype=np.int64)
    for i, (single, own) in enumerate(zip(singles, of_client, strict=True)):
        alone = ((clients * single - all_singles) << FRACTION_BITS) // (clients * (clients - 1))
        paired = (clients * own - all_pairs) * harmonic // (clients * (clients - 1) * (clients - 2) << _HARMONIC_BITS)
        result[i] = common + alone + paired
    return result
