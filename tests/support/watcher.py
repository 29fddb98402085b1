"""A node that only hears, and whose audits end as a test says."""

from __future__ import annotations

import random

from fedcoin.consensus.messages import (
    AuditFinished,
    StartAudit,
    Verdict,
)
from fedcoin.consensus.posap import PoSap, PoSapSettings
from tests.support.network import MINERS, MemoryStorage, Network

HONEST = Verdict.HONEST


class Watcher:
    """A node that hears blocks; its clock starts when all of them have been mined."""

    def __init__(self, network: Network, **settings: object) -> None:
        values = {"mine": False, **settings}
        self.now = network.now + 100_000
        self.storage = MemoryStorage(network.genesis)
        key = MINERS[7]
        chosen = PoSapSettings(**values)  # type: ignore[arg-type]
        self.posap = PoSap(network.genesis, self.storage, key, random.Random(1), chosen)
        self.audits: list[StartAudit] = []

    def step(self, event: object) -> list:  # type: ignore[type-arg]
        effects = self.posap.step(event, self.now)  # type: ignore[arg-type]
        self.audits += [effect for effect in effects if isinstance(effect, StartAudit)]
        return effects

    def judge(self, start: StartAudit, **by_place: Verdict) -> list:  # type: ignore[type-arg]
        """Verdicts: `winner`, and `others`; HONEST unless given."""
        first, *others = start.audit.items
        verdicts = {first.estimate.miner: by_place.get("winner", HONEST)}
        verdicts |= {item.estimate.miner: by_place.get("others", HONEST) for item in others}
        return self.step(AuditFinished(start.audit, verdicts))

    @property
    def height(self) -> int:
        return self.posap.chain.height
