"""Leaves, estimates, certificates, blocks, races."""

from __future__ import annotations

from fedcoin.core.errors.base import Conflict, InvalidInput, LimitExceeded, Refused


class MalformedLeaf(InvalidInput):
    """A leaf is not K marginal contributions within bounds."""

    code = "MALFORMED_LEAF"


class LeafMismatch(InvalidInput):
    """A leaf differs from its recomputation by more than floating-point differences between devices explain."""

    code = "LEAF_MISMATCH"


class InvalidBlock(InvalidInput):
    """Base: a rule of the chain that the block breaks whatever this node has seen or not."""


class UnsupportedVersion(InvalidBlock):
    """The block's version is not one that this node knows; upgrade the node."""

    code = "UNSUPPORTED_VERSION"


class WrongChainId(InvalidBlock):
    """The block belongs to another chain; check that both nodes use the same genesis file."""

    code = "WRONG_CHAIN_ID"


class BlockTooLarge(InvalidBlock):
    """The block is larger than the chain allows."""

    code = "BLOCK_TOO_LARGE"


class MerkleRootMismatch(InvalidBlock):
    """The header's Merkle root is not that of the body's payments and transactions."""

    code = "MERKLE_ROOT_MISMATCH"


class CertificateRootMismatch(InvalidBlock):
    """The header's certificate root is not that of the certificate."""

    code = "CERTIFICATE_ROOT_MISMATCH"


class MalformedCertificate(InvalidBlock):
    """A certificate is the winner's estimate, then those of other miners in ascending order, each miner once."""

    code = "MALFORMED_CERTIFICATE"


class EstimateOfAnotherRace(InvalidBlock):
    """The estimate belongs to another kind, task or parent."""

    code = "ESTIMATE_OF_ANOTHER_RACE"


class EstimateOutOfRange(InvalidInput):
    """An estimate has 1 to 2^20 iterations, one total per client, and no total beyond what its iterations can reach."""

    code = "ESTIMATE_OUT_OF_RANGE"


class WinnerMismatch(InvalidBlock):
    """The header's winner, its S or its time are not those of the certificate's first estimate."""

    code = "WINNER_MISMATCH"


class AveragedMismatch(InvalidBlock):
    """The header's averaged S is not the time-weighted mean of the certificate's other estimates (Alg. 1 line 16)."""

    code = "AVERAGED_MISMATCH"


class DistanceTooLarge(InvalidBlock):
    """The winner's S is farther from the averaged S than the difficulty D allows (Alg. 1 line 17, Alg. 2 line 2)."""

    code = "DISTANCE_TOO_LARGE"


class TimestampNotLater(InvalidBlock):
    """A block's timestamp is later than its parent's."""

    code = "TIMESTAMP_NOT_LATER"


class WrongDifficulty(InvalidBlock):
    """The difficulty is not the one that the chain's rule gives (§4.2)."""

    code = "WRONG_DIFFICULTY"


class MinerNotAllowed(InvalidBlock):
    """The miner was not registered before the race's parent block, or has left, or is convicted."""

    code = "MINER_NOT_ALLOWED"


class QuorumMissing(InvalidBlock):
    """Too few of the active miners stand in the certificate."""

    code = "QUORUM_MISSING"


class TaskMissing(InvalidBlock):
    """A TASK block carries the task that its header names; an AUDIT block carries none."""

    code = "TASK_MISSING"


class TaskStale(Conflict):
    """The task was not published on this block; publish it again on the present tip."""

    code = "TASK_STALE"


class TaskWrongDifficulty(InvalidInput):
    """The task's difficulty or norm is not the chain's; ask a miner for the present terms."""

    code = "TASK_WRONG_DIFFICULTY"


class WrongProblem(InvalidBlock):
    """An AUDIT block runs on the problem that was settled last."""

    code = "WRONG_PROBLEM"


class AuditBlockEmpty(InvalidBlock):
    """An AUDIT block has a transaction or a payment, unless the chain's heartbeat is due."""

    code = "AUDIT_BLOCK_EMPTY"


class TooManyTransactions(InvalidBlock):
    """The block has more transactions than the chain allows."""

    code = "TOO_MANY_TRANSACTIONS"


class StateRootMismatch(InvalidBlock):
    """The header's state root is not that of the state after this block."""

    code = "STATE_ROOT_MISMATCH"


class TimestampInFuture(Conflict):
    """The block's timestamp lies in the future; check both clocks. It will be accepted when its time has come."""

    code = "TIMESTAMP_IN_FUTURE"


class BelowFinality(Conflict):
    """The block branches off deeper than this node's finalised depth."""

    code = "BELOW_FINALITY"


class TooManyBlocks(LimitExceeded):
    """The winner has handed out too many blocks that are not on the chain; offer this one again later."""

    code = "TOO_MANY_BLOCKS"


class InvalidAncestor(InvalidBlock):
    """The block follows one that breaks a rule."""

    code = "INVALID_ANCESTOR"


class UnknownRace(Conflict):
    """The estimate belongs to no race on this node's tip."""

    code = "UNKNOWN_RACE"


class MinerConvicted(Refused):
    """An audit has found a forged leaf of this miner; its estimates are not taken."""

    code = "MINER_CONVICTED"


class LeavesOutOfOrder(InvalidInput):
    """Iterations of a race are counted in order."""

    code = "LEAVES_OUT_OF_ORDER"


class TooManyTasks(LimitExceeded):
    """The server has published too many tasks for this round on this block."""

    code = "TOO_MANY_TASKS"


class SamplerDoesNotFit(InvalidInput):
    """The sampler cannot serve so many clients; choose another sampler or fewer clients."""

    code = "SAMPLER_DOES_NOT_FIT"
