"""One simulated miner: the real state machine, a disk, a clock of its own, and how it behaves."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcoin.consensus.messages import StartRace
from fedcoin.consensus.posap import PoSap
from fedcoin.core.keys import PrivateKey
from tests.sim.disk import Disk

if TYPE_CHECKING:
    from tests.sim.behaviour import Behaviour


@dataclass
class SimNode:
    """A miner and what it is doing."""

    index: int
    key: PrivateKey
    disk: Disk
    behaviour: Behaviour
    speed: float
    """Milliseconds per iteration."""
    rng: random.Random
    """Private: audits draw from it."""
    skew_ms: int = 0
    """Its clock minus the true time."""
    posap: PoSap | None = None
    """None while it is down."""
    race: StartRace | None = None
    generation: int = 0
    """Grows when it turns to another race or crashes, so that work which is under way then is dropped."""
    crash_in: str | None = None
    """Crash between two effects of a coming step: "any" one with several effects, or one that moves the "tip"."""
    power_fails: bool = False
    """How it crashes: not only the process ends, unsynced writes may be lost."""
    counts: dict[str, int] = field(default_factory=dict)
    """Refused inputs by error code."""

    @property
    def name(self) -> str:
        """For people."""
        return f"m{self.index}"

    @property
    def honest(self) -> bool:
        """Whether it keeps to the protocol."""
        return self.behaviour.honest

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.posap is not None

    @property
    def running(self) -> PoSap:
        """The state machine of a node that is up."""
        assert self.posap is not None, f"{self.name} is down"
        return self.posap
