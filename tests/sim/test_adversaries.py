"""What each adversary gains beside three honest miners of its speed: less than they do, or what docs/security.md says.

`make sim SEEDS=0 GAINS=20` prints the table over more seeds.
"""

from __future__ import annotations

import pytest

from fedcoin.core.params import UNITS_PER_FDC
from tests.sim import adversaries
from tests.sim.adversaries import ADVERSARIES, Adversary
from tests.sim.behaviour import Honest
from tests.sim.gains import BOND, Gain, gain_of

SEEDS = range(3)
PUNISHED = (adversaries.CopiesEstimates, adversaries.ForgesLeaves, adversaries.SignsTwoBlocks)
"""Caught in the act: the chain convicts them and takes their bond."""
FRUITLESS = (adversaries.ClaimsTime, adversaries.WithholdsLeaves, adversaries.MakesUpEstimates)
"""Nobody can prove anything, but they win nothing while an honest quorum works."""
SLOWED = 0.5
"""Of the blocks that the network finds without anybody dishonest: at least so many are left."""


@pytest.fixture(scope="module")
def undisturbed() -> Gain:
    return gain_of(Honest, SEEDS)


@pytest.mark.parametrize("kind", PUNISHED)
def test_a_proven_cheat_loses_its_bond_and_no_honest_miner_is_convicted(
    kind: type[Adversary], undisturbed: Gain
) -> None:
    gain = gain_of(kind, SEEDS)
    assert gain.convicted == gain.seeds
    assert gain.wrongly == 0
    assert gain.honest > 0
    assert gain.income <= gain.honest - BOND / UNITS_PER_FDC
    assert gain.agreed == gain.seeds
    assert gain.pace >= SLOWED * undisturbed.pace


@pytest.mark.parametrize("kind", FRUITLESS)
def test_who_cannot_show_its_work_wins_nothing(kind: type[Adversary], undisturbed: Gain) -> None:
    gain = gain_of(kind, SEEDS)
    assert gain.income <= 0.1 * gain.honest
    assert gain.wrongly == 0
    assert gain.agreed == gain.seeds
    assert gain.pace >= SLOWED * undisturbed.pace


@pytest.mark.parametrize("kind", [each for each in ADVERSARIES if each not in (*PUNISHED, *FRUITLESS)])
def test_the_others_harm_nobody(kind: type[Adversary], undisturbed: Gain) -> None:
    """They may win as an honest miner does; nobody is convicted for what they do, and the tips agree."""
    gain = gain_of(kind, SEEDS)
    assert gain.wrongly == 0
    assert gain.agreed == gain.seeds
    assert gain.pace >= SLOWED * undisturbed.pace
    assert gain.honest > 0
