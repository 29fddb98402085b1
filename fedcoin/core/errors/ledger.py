"""Accounts, orders, transactions, tasks, settlement, mempool, fork choice."""

from __future__ import annotations

from fedcoin.core.errors.base import Conflict, InvalidInput, LimitExceeded, NotFound


class InsufficientFunds(Conflict):
    """The account holds less than amount and fee together; lower them or wait for a payment."""

    code = "INSUFFICIENT_FUNDS"


class AmountOutOfRange(InvalidInput):
    """An amount is 0 or above the largest supply; state a positive amount of units."""

    code = "AMOUNT_OUT_OF_RANGE"


class FeeTooLow(InvalidInput):
    """The fee is below the chain's minimum; pay at least min_fee of the genesis."""

    code = "FEE_TOO_LOW"


class NonceUsed(Conflict):
    """The account has already used this nonce; ask for the account's pending nonce and sign again."""

    code = "NONCE_USED"


class NonceTooHigh(Conflict):
    """The nonce leaves out earlier ones; ask for the account's pending nonce and sign again."""

    code = "NONCE_TOO_HIGH"


class OrderNotFound(NotFound):
    """No order of that id is on the chain; check the id, or wait until its transaction is confirmed."""

    code = "ORDER_NOT_FOUND"


class OrderNotOpen(Conflict):
    """The order is finished or refunded; place a new one."""

    code = "ORDER_NOT_OPEN"


class OrderExpired(Conflict):
    """The order's expiry is not after the block's timestamp; choose a later expiry."""

    code = "ORDER_EXPIRED"


class OrderRoundsOutOfRange(InvalidInput):
    """An order has between 1 and 1000 rounds; choose a number within that."""

    code = "ORDER_ROUNDS_OUT_OF_RANGE"


class OrderSharesZero(InvalidInput):
    """The division contract's three shares are all 0; make one of them positive, such as 7 : 1 : 2."""

    code = "ORDER_SHARES_ZERO"


class OrderRatioInvalid(InvalidInput):
    """The schedule's ratio is not above 0 and at most 1 (and 1/1 for an equal schedule); correct it."""

    code = "ORDER_RATIO_INVALID"


class OrderClientsOutOfRange(InvalidInput):
    """An order wants between 1 and 1024 clients at least; choose a number within that."""

    code = "ORDER_CLIENTS_OUT_OF_RANGE"


class OrderSamplerDoesNotFit(InvalidInput):
    """The order wants more clients at least than its sampler can serve; choose fewer clients or another sampler."""

    code = "ORDER_SAMPLER_DOES_NOT_FIT"


class OrderAmountTooSmall(InvalidInput):
    """The deposit leaves a round without a single unit; deposit more or order fewer rounds."""

    code = "ORDER_AMOUNT_TOO_SMALL"


class MinerNameInvalid(InvalidInput):
    """A miner's name is empty or holds control characters; choose plain text of up to 64 bytes."""

    code = "MINER_NAME_INVALID"


class MinerAlreadyRegistered(Conflict):
    """This key is a registered miner already; there is nothing more to do."""

    code = "MINER_ALREADY_REGISTERED"


class MinerNotFound(NotFound):
    """This key is no registered miner; send a registration first."""

    code = "MINER_NOT_FOUND"


class TooManyMiners(LimitExceeded):
    """The chain has as many registered miners as a certificate can name; no more can join."""

    code = "TOO_MANY_MINERS"


class TaskServerMismatch(InvalidInput):
    """The task's server is not the one that the order names; publish it with the order's server key."""

    code = "TASK_SERVER_MISMATCH"


class TaskRoundMismatch(Conflict):
    """The task's round is not the order's next one; publish the first round that is not settled."""

    code = "TASK_ROUND_MISMATCH"


class TaskTermsMismatch(InvalidInput):
    """The task differs from its order in model, aggregation, utility, baseline, sampler, evaluation set, prices or
    norm.
    """

    code = "TASK_TERMS_MISMATCH"


class TaskClientsOutOfRange(InvalidInput):
    """The task has fewer clients than its order wants, or more than the protocol allows."""

    code = "TASK_CLIENTS_OUT_OF_RANGE"


class TaskSamplerDoesNotFit(InvalidInput):
    """The task has more clients than its sampler can serve; no miner could work on it."""

    code = "TASK_SAMPLER_DOES_NOT_FIT"


class TaskContributorsMismatch(InvalidInput):
    """The task does not name exactly one contributor for each update."""

    code = "TASK_CONTRIBUTORS_MISMATCH"


class TaskContributorTwice(InvalidInput):
    """A contributor stands twice in the task; one client hands in one update a round."""

    code = "TASK_CONTRIBUTOR_TWICE"


class TaskSamplesZero(InvalidInput):
    """An update of the task rests on no samples; leave it out."""

    code = "TASK_SAMPLES_ZERO"


class TaskExpiryInvalid(InvalidInput):
    """The task's expiry is not after its opening, or is after its order's; choose one between them."""

    code = "TASK_EXPIRY_INVALID"


class TaskExpired(Conflict):
    """The task's expiry has passed; publish the round again with a later one."""

    code = "TASK_EXPIRED"


class SettlementMismatch(InvalidInput):
    """A block's payments are not, unit by unit, those that the rules derive; refuse the block."""

    code = "SETTLEMENT_MISMATCH"


class InvalidGenesis(InvalidInput):
    """The genesis breaks a rule; correct the genesis file and hand the same one to every node."""

    code = "INVALID_GENESIS"


class TransactionKnown(Conflict):
    """The transaction waits in the mempool already; there is nothing more to do."""

    code = "TRANSACTION_KNOWN"


class ReplacementFeeTooLow(Conflict):
    """Another transaction with this nonce waits; to replace it, pay a fee at least a tenth higher."""

    code = "REPLACEMENT_FEE_TOO_LOW"


class SenderLimitExceeded(LimitExceeded):
    """Too many transactions of this sender wait; send more when some are confirmed."""

    code = "SENDER_LIMIT_EXCEEDED"


class MempoolFull(LimitExceeded):
    """The mempool is full of transactions with higher fees; pay more or try again later."""

    code = "MEMPOOL_FULL"


class UnknownParent(Conflict):
    """The block's parent is not here yet; hand over the parent first."""

    code = "UNKNOWN_PARENT"


class UnknownBlock(NotFound):
    """No block of that hash is here; check the hash, or wait until the node has caught up."""

    code = "UNKNOWN_BLOCK"


class HeightMismatch(InvalidInput):
    """The block's height is not its parent's plus 1; refuse the block."""

    code = "HEIGHT_MISMATCH"
