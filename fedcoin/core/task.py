"""The Shapley problem (the inputs of Algorithm 1) and the task by which a server publishes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from fedcoin.core.encoding import HASH_SIZE, Struct, enum, raw, tagged_hash, u8, u16, u64, vector
from fedcoin.core.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, PrivateKey, address_of, verify_signature
from fedcoin.core.model import MODEL_SPEC, ModelSpec
from fedcoin.core.params import MAX_CLIENTS, MAX_EXACT_CLIENTS


class Aggregation(IntEnum):
    """𝒜: how updates become a model."""

    UNWEIGHTED = 1
    """FedAvg as in §6.1: the plain mean."""
    WEIGHTED = 2
    """FedAvg weighted by sample counts."""


class Utility(IntEnum):
    """ℱ: what a coalition's model is worth; higher is better."""

    ACCURACY = 1
    NEGATIVE_LOSS = 2


class Baseline(IntEnum):
    """v(∅): what the empty coalition is worth."""

    ZERO = 1
    """0, as Alg. 1 line 6 implies."""
    STARTING_MODEL = 2
    """The utility of the model that the round started from."""


class Sampler(IntEnum):
    """How an iteration samples coalitions; all are unbiased (shapley/samplers)."""

    PERMUTATION = 1
    """The paper's: one permutation, its K prefixes (Alg. 1 lines 5–9)."""
    ANTITHETIC = 2
    """Permutations in pairs, the second one the first reversed."""
    HYBRID = 3
    """Small coalitions exactly, the others sampled by size."""
    EXACT = 4
    """All coalitions, in an order of the miner's own, each at least once in a pass (K ≤ 20)."""

    @property
    def most_clients(self) -> int:
        """K at most that it serves."""
        return MAX_EXACT_CLIENTS if self is Sampler.EXACT else MAX_CLIENTS


class RaceKind(IntEnum):
    """What a block is mined on."""

    TASK = 1
    """The open Shapley task of an order's round; its block settles the round."""
    AUDIT = 2
    """The last settled problem once more, so that transactions and refunds need no task."""


@dataclass(frozen=True)
class UpdateRef:
    """One client's update w_k."""

    digest: bytes
    """SHA-256 of the safetensors blob."""
    samples: int
    """n_k, as the client states it."""


@dataclass(frozen=True)
class Problem:
    """Everything that determines v(C) for each coalition C: inputs ℱ, 𝒜 and W of Algorithm 1."""

    model: ModelSpec
    aggregation: Aggregation
    utility: Utility
    baseline: Baseline
    sampler: Sampler
    """Which coalitions an iteration evaluates, and how their values become its leaf."""
    base_model: bytes
    """SHA-256 of the round's starting model."""
    evaluation_set: bytes
    """SHA-256 of the evaluation set's blob."""
    updates: tuple[UpdateRef, ...]
    """W, one per client, in the order that Shapley vectors use."""

    @property
    def clients(self) -> int:
        """K."""
        return len(self.updates)

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """Digests of everything a miner must hold to evaluate."""
        return (self.evaluation_set, self.base_model, *(update.digest for update in self.updates))

    def id(self) -> bytes:
        """Digest of the problem."""
        return PROBLEM.digest(self)


@dataclass(frozen=True)
class Contributor:
    """Who made the update of the same index, and proof of it."""

    public_key: bytes
    signature: bytes
    """Over the UpdateCommitment."""

    @property
    def address(self) -> bytes:
        """Where p_i is paid."""
        return address_of(self.public_key)


@dataclass(frozen=True)
class UpdateCommitment:
    """What a client signs when it hands in an update."""

    order: bytes
    round: int
    base_model: bytes
    digest: bytes
    samples: int

    def id(self, chain_id: bytes) -> bytes:
        """The digest that is signed."""
        return UPDATE_COMMITMENT.digest(self, chain_id)


@dataclass(frozen=True)
class Task:
    """A Shapley task, signed by the FL server (Alg. 3 line 5)."""

    server: bytes
    """Public key."""
    order: bytes
    """Id of the ORDER transaction."""
    round: int
    """From 0."""
    parent: bytes
    """Hash of the block it was published on. The block that settles it must follow that block."""
    train_price: int
    com_price: int
    sap_price: int
    problem: Problem
    contributors: tuple[Contributor, ...]
    norm: int
    """p of the p-distance."""
    difficulty: int
    """D, times UTILITY_SCALE."""
    opened_at: int
    """Milliseconds since 1970."""
    expiry: int
    """Milliseconds since 1970: no block with a later timestamp may settle it."""
    signature: bytes

    def id(self, chain_id: bytes) -> bytes:
        """Task hash: the digest that is signed."""
        return _UNSIGNED.digest(self, chain_id)

    def commitment(self, index: int) -> UpdateCommitment:
        """What client `index` must have signed."""
        update = self.problem.updates[index]
        return UpdateCommitment(self.order, self.round, self.problem.base_model, update.digest, update.samples)

    def verify_server(self, chain_id: bytes) -> None:
        """Raises InvalidSignature unless the server signed this task for this chain."""
        verify_signature(self.server, self.id(chain_id), self.signature)


UPDATE_REF = Struct(UpdateRef, "fedcoin/v1/update-ref", digest=raw(HASH_SIZE), samples=u64)
PROBLEM = Struct(
    Problem,
    "fedcoin/v1/problem",
    model=MODEL_SPEC.codec,
    aggregation=enum(Aggregation),
    utility=enum(Utility),
    baseline=enum(Baseline),
    sampler=enum(Sampler),
    base_model=raw(HASH_SIZE),
    evaluation_set=raw(HASH_SIZE),
    updates=vector(UPDATE_REF.codec, MAX_CLIENTS),
)
CONTRIBUTOR = Struct(
    Contributor, "fedcoin/v1/contributor", public_key=raw(PUBLIC_KEY_SIZE), signature=raw(SIGNATURE_SIZE)
)
UPDATE_COMMITMENT = Struct(
    UpdateCommitment,
    "fedcoin/v1/update",
    order=raw(HASH_SIZE),
    round=u16,
    base_model=raw(HASH_SIZE),
    digest=raw(HASH_SIZE),
    samples=u64,
)
_UNSIGNED = Struct(
    Task,
    "fedcoin/v1/task",
    server=raw(PUBLIC_KEY_SIZE),
    order=raw(HASH_SIZE),
    round=u16,
    parent=raw(HASH_SIZE),
    train_price=u64,
    com_price=u64,
    sap_price=u64,
    problem=PROBLEM.codec,
    contributors=vector(CONTRIBUTOR.codec, MAX_CLIENTS),
    norm=u8,
    difficulty=u64,
    opened_at=u64,
    expiry=u64,
)
TASK = Struct(Task, "fedcoin/v1/signed-task", **_UNSIGNED.fields, signature=raw(SIGNATURE_SIZE))


def sign_task(key: PrivateKey, chain_id: bytes, task: Task) -> Task:
    """`task` with the server's signature; its `server` must be the key's public key."""
    return replace(task, signature=key.sign(task.id(chain_id)))


def race_id(kind: RaceKind, task: bytes, parent: bytes) -> bytes:
    """What a race is known by: its permutations are drawn from it, so no work serves two races.

    `task` is the task's hash, or for an AUDIT race the problem's. The parent is part of it because an AUDIT race runs
    on
    a problem that was settled before, whose leaves would otherwise be at hand.
    """
    return tagged_hash("fedcoin/v1/race", u8.write(kind) + task + parent)
