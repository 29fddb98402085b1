"""What goes into the state machine (Receive…, …Done) and what it wants done (Send…, Start…, Store…).

Plain values without logic. The node performs the effects in the order in which they are returned: what must be on disk
before a peer hears of it comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import FraudReport, LeafProof
from fedcoin.core.task import Problem, RaceKind, Task
from fedcoin.core.transaction import Body, Transaction

Leaves = NDArray[np.int64]
"""Marginal contributions [iterations, K], times UTILITY_SCALE."""

Evidence = tuple[LeafProof | None, LeafProof]
"""What convicts a miner before the chain: the leaf before the accused one (None if that is the first), and that one."""

Source = str | None
"""The peer that a message came from; None for our own."""


# --- inputs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReceiveTask:
    """A server or a peer hands us a Shapley task."""

    task: Task
    source: Source = None


@dataclass(frozen=True)
class ReceiveEstimate:
    """A peer hands us an estimate (Alg. 1 line 15)."""

    estimate: Estimate
    source: Source = None


@dataclass(frozen=True)
class ReceiveBlock:
    """A peer hands us a block (Alg. 1 line 23)."""

    block: Block
    source: Source = None
    more_follows: bool = False
    """During sync: its child is known to come, so it needs no audit of its own."""


@dataclass(frozen=True)
class ReceiveTransaction:
    """Somebody hands us a transaction."""

    transaction: Transaction
    source: Source = None


@dataclass(frozen=True)
class IterationsDone:
    """Our evaluator has finished more iterations of a race (Alg. 1 lines 4–12), in order."""

    race: bytes
    start: int
    """Index of the first of them."""
    leaves: Leaves
    stored: bool = False
    """They were read back from the store after a restart: they need not be stored again."""


@dataclass(frozen=True)
class AuditFinished:
    """An audit that StartAudit asked for has ended."""

    audit: Audit
    verdicts: Mapping[bytes, Verdict]
    """By miner's public key."""
    evidence: Mapping[bytes, Evidence] = field(default_factory=dict)
    """Of convicted miners, by public key, where it is enough for the chain (docs/adr/0010)."""


@dataclass(frozen=True)
class TrialFinished:
    """A trial that StartTrial asked for has ended."""

    case: bytes
    guilty: bool | None
    """None: it could not be recomputed now."""


@dataclass(frozen=True)
class RaceStalled:
    """Our evaluator cannot begin a race: its blobs are withheld, say. Other work comes before its order's until
    RaceReady."""

    race: bytes


@dataclass(frozen=True)
class RaceReady:
    """A race that had stalled can be worked on."""

    race: bytes


@dataclass(frozen=True)
class Tick:
    """Time has passed: refunds may be due, tasks expired, blocks old enough to stop waiting for their audit."""


Input = (
    ReceiveTask
    | ReceiveEstimate
    | ReceiveBlock
    | ReceiveTransaction
    | IterationsDone
    | AuditFinished
    | TrialFinished
    | RaceStalled
    | RaceReady
    | Tick
)


# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SendTask:
    """Relay a task to all peers but `skip`."""

    task: Task
    skip: Source = None


@dataclass(frozen=True)
class SendEstimate:
    """Alg. 1 line 13: broadcast S and time; also relays the estimates of others."""

    estimate: Estimate
    skip: Source = None


@dataclass(frozen=True)
class SendBlock:
    """Alg. 1 line 19: broadcast Blk."""

    block: Block
    skip: Source = None


@dataclass(frozen=True)
class SendTransaction:
    """Relay a transaction."""

    transaction: Transaction
    skip: Source = None


@dataclass(frozen=True)
class RaceInfo:
    """What the evaluator must know to work on a race."""

    race: bytes
    kind: RaceKind
    problem: Problem
    miner: bytes
    """Our public key: permutations are drawn from it."""


@dataclass(frozen=True)
class StartRace:
    """Work on this race from iteration `start` until StopRace or another StartRace."""

    info: RaceInfo
    start: int
    """Iterations of this race that are already counted. If it is 0, leaves stored before a restart may be fed in
    first."""


@dataclass(frozen=True)
class StopRace:
    """No race is worth working on."""


@dataclass(frozen=True)
class StoreLeaves:
    """Keep our own leaves, so that a restart goes on with them and an auditor can ask for them."""

    race: bytes
    start: int
    leaves: Leaves


@dataclass(frozen=True)
class StoreBlock:
    """Keep a block that is valid as far as it can be judged, on whatever branch."""

    block: Block
    signed: bool = False
    """We have just signed it. That must outlive the loss of the database, and be on the disk before anybody sees it."""


@dataclass(frozen=True)
class AppliedBlock:
    """A block that joins the adopted chain, with what it changes."""

    block: Block
    changes: Mapping[bytes, bytes | None]
    """State key → new value (None: removed)."""
    undo: Mapping[bytes, bytes | None]
    """State key → value before (None: was absent)."""


@dataclass(frozen=True)
class AdoptChain:
    """The tip has changed. To be stored in one atomic, synced write before anything that follows is sent."""

    undone: tuple[Block, ...]
    """Blocks that leave the adopted chain, from the old tip downwards."""
    applied: tuple[AppliedBlock, ...]
    """Blocks that join it, upwards to the new tip."""


class Verdict(Enum):
    """How an audit of one estimate ended."""

    HONEST = "honest"
    CONVICTED = "convicted"
    """A leaf under the root that the miner has signed is wrong."""
    UNAVAILABLE = "unavailable"
    """Nobody handed out its leaves."""


@dataclass(frozen=True)
class AuditItem:
    """One estimate to audit."""

    estimate: Estimate
    indices: tuple[int, ...]
    """Iterations to recompute, privately drawn, ascending."""


@dataclass(frozen=True)
class Audit:
    """Estimates of one race to check: of a fresh block before it is adopted, or at random while a race runs."""

    race: bytes
    problem: Problem
    items: tuple[AuditItem, ...]
    block: bytes | None = None
    """Hash of the block that waits for this audit; None for a spot check."""


@dataclass(frozen=True)
class StartAudit:
    """Fetch and recompute leaves, then answer with AuditFinished."""

    audit: Audit


@dataclass(frozen=True)
class StartTrial:
    """Recompute the accused step of a case that waits for our vote, then answer with TrialFinished."""

    case: bytes
    report: FraudReport
    problem: Problem


@dataclass(frozen=True)
class NotProsecuted:
    """We could not send what we wanted to report or vote, for lack of money say. It is tried again later."""

    body: Body
    error: FedCoinError


Effect = (
    SendTask
    | SendEstimate
    | SendBlock
    | SendTransaction
    | StartRace
    | StopRace
    | StoreLeaves
    | StoreBlock
    | AdoptChain
    | StartAudit
    | StartTrial
    | NotProsecuted
)


@dataclass(frozen=True)
class MiningView:
    """Where the race stands, for people and programs."""

    race: bytes | None = None
    kind: RaceKind | None = None
    task: bytes | None = None
    order: bytes | None = None
    round: int | None = None
    clients: int = 0
    difficulty: float = 0.0
    """D as a real number."""
    iterations: int = 0
    """Our `time`."""
    distance: float | None = None
    """‖S − S̄‖ of ours; None before there is an S̄."""
    heard_from: int = 0
    """Other miners whose estimates we hold."""
    quorum: int = 0
    """Other miners whose estimates a block needs."""
    estimates: Mapping[bytes, tuple[int, float | None]] = field(default_factory=dict)
    """By miner: (time, its distance to the S̄ that it would average, as far as we know)."""
