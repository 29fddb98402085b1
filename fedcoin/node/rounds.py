"""A training round as a value, and what may happen to it. No I/O, no clock: times and randomness are arguments.

    OPEN ──all selected have handed in, or deadline with ≥ min_clients──▶ CLOSED ──aggregated──▶ AGGREGATED
     ▲ │
     └─┘ deadline with fewer: reopened, with new clients beside those that have handed in

An AGGREGATED round has its Shapley task published, again for each new tip, until the chain settles it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from fedcoin.core.encoding import HASH_SIZE, Struct, blob, enum, optional, raw, tagged_hash, u16, u32, u64, vector
from fedcoin.core.errors import (
    ClientInvalid,
    ClientNotSelected,
    RoundNotOpen,
    UpdateConflict,
    UpdateCopied,
    UpdateWrongBase,
)
from fedcoin.core.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from fedcoin.core.params import MAX_CLIENTS
from fedcoin.core.task import TASK, Contributor, Task, UpdateCommitment, UpdateRef

MAX_SAMPLES = 2**40
"""n_k at most, so that weighted sums stay far from any overflow."""


@dataclass(frozen=True)
class RoundSettings:
    """How a server runs its rounds."""

    clients_per_round: int = 0
    """How many to select; 0: all that are there. An order's min_clients is the least in any case."""
    deadline_ms: int = 600_000
    """From the opening of a round to its deadline."""
    heard_within_ms: int = 60_000
    """Clients not heard for this long are not selected."""
    seed: int = 0
    """Of the selection."""


class RoundPhase(IntEnum):
    """Where a round is."""

    OPEN = 1
    CLOSED = 2
    AGGREGATED = 3


@dataclass(frozen=True)
class Submission:
    """A checked update of a client."""

    public_key: bytes
    digest: bytes
    samples: int
    signature: bytes
    """Over the UpdateCommitment."""


@dataclass(frozen=True)
class Round:
    """One round of one order, as the server keeps it."""

    order: bytes
    number: int
    attempt: int
    """How often it was reopened."""
    base_model: bytes
    """Digest of the starting model."""
    opened_at: int
    deadline: int
    selected: tuple[bytes, ...]
    """Public keys, ascending; the order of the Shapley vector is theirs."""
    submissions: tuple[Submission, ...]
    """In the order of `selected`."""
    phase: RoundPhase
    model: bytes = b""
    """Digest of the aggregated model; empty before AGGREGATED."""
    accuracy: int = 0
    """Of the aggregated model on the evaluation set, times UTILITY_SCALE."""
    task: Task | None = None
    """As last published."""
    settled_block: bytes = b""
    """Hash of the block that settled it, as far as we know."""
    settled_height: int = 0

    def submission(self, public_key: bytes) -> Submission | None:
        """What this client has handed in."""
        return next((item for item in self.submissions if item.public_key == public_key), None)

    @property
    def update_refs(self) -> tuple[UpdateRef, ...]:
        """W of Algorithm 1."""
        return tuple(UpdateRef(item.digest, item.samples) for item in self.submissions)

    @property
    def contributors(self) -> tuple[Contributor, ...]:
        """Who made them."""
        return tuple(Contributor(item.public_key, item.signature) for item in self.submissions)


SUBMISSION = Struct(
    Submission,
    "fedcoin/v1/server-submission",
    public_key=raw(PUBLIC_KEY_SIZE),
    digest=raw(HASH_SIZE),
    samples=u64,
    signature=raw(SIGNATURE_SIZE),
)
ROUND = Struct(
    Round,
    "fedcoin/v1/server-round",
    order=raw(HASH_SIZE),
    number=u16,
    attempt=u32,
    base_model=raw(HASH_SIZE),
    opened_at=u64,
    deadline=u64,
    selected=vector(raw(PUBLIC_KEY_SIZE), MAX_CLIENTS),
    submissions=vector(SUBMISSION.codec, MAX_CLIENTS),
    phase=enum(RoundPhase),
    model=blob(HASH_SIZE),
    accuracy=u64,
    task=optional(TASK.codec),
    settled_block=blob(HASH_SIZE),
    settled_height=u64,
)
"""How a server keeps a round on its disk."""


def open_round(
    order: bytes,
    number: int,
    base_model: bytes,
    clients: Sequence[bytes],
    min_clients: int,
    settings: RoundSettings,
    now_ms: int,
    max_clients: int = MAX_CLIENTS,
) -> Round:
    """A round with clients drawn from `clients`, of which there must be at least `min_clients`.

    `max_clients`: as many as the order's sampler serves.
    """
    selected = select_clients(order, number, 0, (), clients, min_clients, settings, max_clients)
    return Round(order, number, 0, base_model, now_ms, now_ms + settings.deadline_ms, selected, (), RoundPhase.OPEN)


def reopen(
    round_: Round,
    clients: Sequence[bytes],
    min_clients: int,
    settings: RoundSettings,
    now_ms: int,
    max_clients: int = MAX_CLIENTS,
) -> Round:
    """A round whose deadline has passed with too few updates, with a new one; what was handed in stays."""
    kept = tuple(item.public_key for item in round_.submissions)
    attempt = round_.attempt + 1
    selected = select_clients(round_.order, round_.number, attempt, kept, clients, min_clients, settings, max_clients)
    return replace(round_, attempt=attempt, opened_at=now_ms, deadline=now_ms + settings.deadline_ms, selected=selected)


def select_clients(
    order: bytes,
    number: int,
    attempt: int,
    kept: Sequence[bytes],
    clients: Sequence[bytes],
    min_clients: int,
    settings: RoundSettings,
    max_clients: int = MAX_CLIENTS,
) -> tuple[bytes, ...]:
    """`kept`, and as many others as the settings say, drawn evenly; the same for the same arguments.

    Not more than `max_clients` in all (`kept` are not), whatever the settings say.
    """
    others = sorted(set(clients) - set(kept))
    wanted = max(settings.clients_per_round, min_clients) if settings.clients_per_round else max_clients
    count = max(0, min(wanted, max_clients) - len(kept))
    drawn_from = f"{settings.seed}/{order.hex()}/{number}/{attempt}"
    rng = random.Random(tagged_hash("fedcoin/v1/selection", drawn_from.encode()))
    chosen = others if count >= len(others) else rng.sample(others, count)
    return tuple(sorted({*kept, *chosen}))


def check_hand_in(round_: Round, submission: Submission, commitment: UpdateCommitment, now_ms: int) -> bool:
    """Whether the update is new (True), or the one that the client has handed in already (False).

    Raises UpdateWrongBase, ClientNotSelected, UpdateConflict, UpdateCopied, ClientInvalid, RoundNotOpen.
    """
    before = round_.submission(submission.public_key)
    same = before is not None and (before.digest, before.samples) == (submission.digest, submission.samples)
    if same and commitment.base_model == round_.base_model:
        return False
    if round_.phase != RoundPhase.OPEN:
        raise RoundNotOpen(f"round {round_.number} is closed")
    if now_ms > round_.deadline:
        raise RoundNotOpen(f"the deadline of round {round_.number} passed {now_ms - round_.deadline} ms ago")
    if submission.public_key not in round_.selected:
        raise ClientNotSelected(f"this client is not selected for round {round_.number}")
    if commitment.base_model != round_.base_model:
        raise UpdateWrongBase(
            f"trained from {commitment.base_model.hex()[:16]}…, round {round_.number} starts from "
            f"{round_.base_model.hex()[:16]}…"
        )
    if before is not None:
        raise UpdateConflict
    if any(item.digest == submission.digest for item in round_.submissions):
        raise UpdateCopied
    if not 1 <= submission.samples <= MAX_SAMPLES:
        raise ClientInvalid(f"{submission.samples} samples are not possible")
    return True


def hand_in(round_: Round, submission: Submission, commitment: UpdateCommitment, now_ms: int) -> Round:
    """The round with the update; the very same round if it was there already. Raises as check_hand_in."""
    if not check_hand_in(round_, submission, commitment, now_ms):
        return round_
    return in_order(round_, (*round_.submissions, submission))


def in_order(round_: Round, submissions: Iterable[Submission]) -> Round:
    """The round with these submissions of selected clients, in the order of the Shapley vector."""
    by_key = {item.public_key: item for item in submissions}
    return replace(round_, submissions=tuple(by_key[key] for key in round_.selected if key in by_key))


def close_if_due(round_: Round, min_clients: int, now_ms: int) -> Round:
    """CLOSED if all selected have handed in, or at the deadline if at least `min_clients` have."""
    complete = len(round_.submissions) == len(round_.selected)
    enough = len(round_.submissions) >= max(1, min_clients)
    if round_.phase == RoundPhase.OPEN and enough and (complete or now_ms > round_.deadline):
        return replace(round_, phase=RoundPhase.CLOSED)
    return round_


def needs_reopening(round_: Round, min_clients: int, now_ms: int) -> bool:
    """Whether its deadline has passed with too few updates."""
    return (
        round_.phase == RoundPhase.OPEN and now_ms > round_.deadline and len(round_.submissions) < max(1, min_clients)
    )


def aggregated(round_: Round, model: bytes, accuracy: int) -> Round:
    """The round with 𝒜 of its updates."""
    return replace(round_, phase=RoundPhase.AGGREGATED, model=model, accuracy=accuracy)
