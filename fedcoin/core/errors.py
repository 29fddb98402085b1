"""Every error that FedCoin reports, each with a stable code.

One rule, one error. The code is what programs match on (it travels in ErrorInfo.reason and in --json output); the
message is for the person and says what to do. Codes are listed in proto/SPEC.md and never change meaning.
"""

from __future__ import annotations

from typing import ClassVar


class FedCoinError(Exception):
    """Something went wrong inside FedCoin; please report it."""

    code: ClassVar[str] = "INTERNAL"
    """UPPER_SNAKE, stable."""
    status: ClassVar[str] = "INTERNAL"
    """Name of the canonical gRPC status that carries it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or self.code).strip().splitlines()[0])

    @property
    def message(self) -> str:
        """The text for a person."""
        return str(self)


class InvalidInput(FedCoinError):
    """Base: the input is wrong whatever the state of the chain."""

    status = "INVALID_ARGUMENT"


class Conflict(FedCoinError):
    """Base: the input may be well formed but does not fit the present state."""

    status = "FAILED_PRECONDITION"


class NotFound(FedCoinError):
    """Base: what was asked for is not here."""

    status = "NOT_FOUND"


class LimitExceeded(FedCoinError):
    """Base: more than a limit allows."""

    status = "RESOURCE_EXHAUSTED"


class Unavailable(FedCoinError):
    """Base: try again later."""

    status = "UNAVAILABLE"


class Refused(FedCoinError):
    """Base: the caller may not do this."""

    status = "PERMISSION_DENIED"


# --- bytes, keys, proofs ---------------------------------------------------------------------------------------------


class MalformedEncoding(InvalidInput):
    """Bytes or a value do not fit the canonical layout."""

    code = "MALFORMED_ENCODING"


class InvalidSignature(InvalidInput):
    """The signature is not the key's over this content."""

    code = "INVALID_SIGNATURE"


class InvalidPublicKey(InvalidInput):
    """The public key is not a compressed point of secp256k1."""

    code = "INVALID_PUBLIC_KEY"


class InvalidPrivateKey(InvalidInput):
    """A private key is 32 bytes between 1 and the curve order."""

    code = "INVALID_PRIVATE_KEY"


class InvalidAddress(InvalidInput):
    """The address is malformed or mistyped."""

    code = "INVALID_ADDRESS"


class InvalidMerkleProof(InvalidInput):
    """The Merkle proof does not lead to the root."""

    code = "INVALID_MERKLE_PROOF"


# --- learning: data --------------------------------------------------------------------------------------------------


class DatasetNotFound(NotFound):
    """No data set of that name or at that place."""

    code = "DATASET_NOT_FOUND"


class DatasetMalformed(InvalidInput):
    """A data file is truncated, too long, of another format, or its parts do not fit together."""

    code = "DATASET_MALFORMED"


class DatasetNotFinite(InvalidInput):
    """A data file holds NaN or infinite features."""

    code = "DATASET_NOT_FINITE"


class DatasetLabelOutOfRange(InvalidInput):
    """A label is negative or not below the number of classes."""

    code = "DATASET_LABEL_OUT_OF_RANGE"


class PartitionImpossible(InvalidInput):
    """The samples cannot be divided among the clients as asked."""

    code = "PARTITION_IMPOSSIBLE"


# --- learning: models ------------------------------------------------------------------------------------------------


class UnknownModel(InvalidInput):
    """No preset or torchvision model of that name is allowed."""

    code = "UNKNOWN_MODEL"


class ModelDoesNotFit(InvalidInput):
    """An architecture's layers, input shape and classes do not fit together."""

    code = "MODEL_DOES_NOT_FIT"


class ModelTooLarge(LimitExceeded):
    """An architecture needs more parameters, activations or work than a node takes on."""

    code = "MODEL_TOO_LARGE"


class TrainingSettingsInvalid(InvalidInput):
    """The settings of local training contradict each other or the data."""

    code = "TRAINING_SETTINGS_INVALID"


class SamplesDoNotFit(InvalidInput):
    """Samples and labels are not of the shape, type or range that the architecture takes."""

    code = "SAMPLES_DO_NOT_FIT"


class TrainingDiverged(InvalidInput):
    """Local training ended in weights that are not finite; use a smaller learning rate."""

    code = "TRAINING_DIVERGED"


class DeviceUnavailable(Unavailable):
    """The computing device asked for is not there."""

    code = "DEVICE_UNAVAILABLE"


# --- learning: blobs from peers --------------------------------------------------------------------------------------


class UpdateMalformed(InvalidInput):
    """A model update is not a safetensors file with exactly the tensors of its architecture."""

    code = "UPDATE_MALFORMED"


class UpdateTooLarge(LimitExceeded):
    """A model update has more bytes than its architecture can need."""

    code = "UPDATE_TOO_LARGE"


class UpdateWrongShape(InvalidInput):
    """A tensor of a model update has another shape or type than its architecture says."""

    code = "UPDATE_WRONG_SHAPE"


class UpdateNotFinite(InvalidInput):
    """A model update holds NaN or infinite parameters."""

    code = "UPDATE_NOT_FINITE"


class EvaluationSetMalformed(InvalidInput):
    """An evaluation set is not a safetensors file of samples x and labels y that fit the architecture."""

    code = "EVALUATION_SET_MALFORMED"


class EvaluationSetTooLarge(LimitExceeded):
    """An evaluation set has more bytes than a node takes on."""

    code = "EVALUATION_SET_TOO_LARGE"


class EvaluationSetNotFinite(InvalidInput):
    """An evaluation set holds NaN or infinite features."""

    code = "EVALUATION_SET_NOT_FINITE"


class EvaluationSetLabelOutOfRange(InvalidInput):
    """An evaluation set holds a label that is no class of the architecture."""

    code = "EVALUATION_SET_LABEL_OUT_OF_RANGE"


class AggregationImpossible(InvalidInput):
    """Updates or sample counts that cannot be averaged together."""

    code = "AGGREGATION_IMPOSSIBLE"


class CoalitionsMalformed(InvalidInput):
    """Coalitions or permutations that do not name each client as they should."""

    code = "COALITIONS_MALFORMED"


class EvaluationTooLarge(LimitExceeded):
    """A task's updates together need more memory than a node takes on."""

    code = "EVALUATION_TOO_LARGE"


# --- shapley ---------------------------------------------------------------------------------------------------------


class MalformedLeaf(InvalidInput):
    """A leaf is not K marginal contributions within bounds."""

    code = "MALFORMED_LEAF"


class LeafMismatch(InvalidInput):
    """A leaf differs from its recomputation by more than floating-point differences between devices explain."""

    code = "LEAF_MISMATCH"


# --- consensus: blocks, certificates, races --------------------------------------------------------------------------


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
    """The miner was not registered before the race's parent block."""

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
    """An AUDIT block has a transaction or a refund, unless the chain's heartbeat is due."""

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


# --- what a person types ---------------------------------------------------------------------------------------------


class AmountMalformed(InvalidInput):
    """An amount is not written as FDC with at most eight decimals."""

    code = "AMOUNT_MALFORMED"


class ConfigFileInvalid(InvalidInput):
    """A configuration file cannot be read, is no TOML, or has a setting that there is not."""

    code = "CONFIG_FILE_INVALID"


class IdMalformed(InvalidInput):
    """A hash, id or public key is not written as hexadecimal digits of the right number."""

    code = "ID_MALFORMED"


class NotASettlement(InvalidInput):
    """An AUDIT block settles no round, so there is no payout to check."""

    code = "NOT_A_SETTLEMENT"


class ProcessFailed(Unavailable):
    """A process of a local network has ended too early or has not become ready."""

    code = "PROCESS_FAILED"


class MoneyDoesNotAddUp(Conflict):
    """The balances of a chain do not sum to what its genesis gave out."""

    code = "MONEY_DOES_NOT_ADD_UP"


class OutputNotWritable(Unavailable):
    """A file that was asked for cannot be written."""

    code = "OUTPUT_NOT_WRITABLE"


# --- store -----------------------------------------------------------------------------------------------------------


class DataFolderInUse(Conflict):
    """Another process has the data folder open: stop it first, or use another folder."""

    code = "DATA_FOLDER_IN_USE"


class WrongChain(Conflict):
    """The data folder belongs to another chain: use another folder, or the genesis file that it was made with."""

    code = "WRONG_CHAIN"


class WrongDataFolder(Conflict):
    """The data folder was written by another role or by another version of the storage format."""

    code = "WRONG_DATA_FOLDER"


class StoreCorrupt(FedCoinError):
    """A file in the data folder is damaged: restore a copy, or remove the folder and sync again."""

    code = "STORE_CORRUPT"
    status = "DATA_LOSS"


class StoreUnavailable(Unavailable):
    """The data folder cannot be read or written: look at free space, permissions and the disk."""

    code = "STORE_UNAVAILABLE"


# --- node: evaluator process -----------------------------------------------------------------------------------------


class EvaluatorFailed(Unavailable):
    """The evaluator process has died twice over one request."""

    code = "EVALUATOR_FAILED"


# --- training ---------------------------------------------------------------------------------------------------------


class OrderRefused(Conflict):
    """This server would not run an order with these terms."""

    code = "ORDER_REFUSED"


class UnknownOrder(NotFound):
    """This server runs no order of that id."""

    code = "UNKNOWN_ORDER"


class NotTheRequester(Refused):
    """Only the account that paid for the order gets its model."""

    code = "NOT_THE_REQUESTER"


class ModelNotReady(Conflict):
    """The order has not finished, so there is no final model yet."""

    code = "MODEL_NOT_READY"


class RequestExpired(Conflict):
    """The request was signed too long ago or lies in the future: check this machine's clock and send it anew."""

    code = "REQUEST_EXPIRED"


class ClientNotJoined(Refused):
    """This client has not joined the server, or was not heard for too long: join first."""

    code = "CLIENT_NOT_JOINED"


class ClientNotSelected(Refused):
    """This client is not selected for the round."""

    code = "CLIENT_NOT_SELECTED"


class ClientInvalid(InvalidInput):
    """A client states a number of samples that is not possible."""

    code = "CLIENT_INVALID"


class TooManyClients(LimitExceeded):
    """The server has no place for another client."""

    code = "TOO_MANY_CLIENTS"


class RoundNotOpen(Conflict):
    """The round takes no updates: it has not begun, or is closed already."""

    code = "ROUND_NOT_OPEN"


class UpdateWrongBase(Conflict):
    """The update was trained from another model than the round's starting model."""

    code = "UPDATE_WRONG_BASE"


class UpdateDigestWrong(InvalidInput):
    """The bytes of an update do not have the digest that the client signed."""

    code = "UPDATE_DIGEST_WRONG"


class UpdateConflict(Conflict):
    """The client has handed in another update for this round already; the first one stands."""

    code = "UPDATE_CONFLICT"


class OfferUnacceptable(Conflict):
    """A client declines a round: it does not fit its data or its limits, or the chain knows nothing of it."""

    code = "OFFER_UNACCEPTABLE"


class NoMinerReachable(Unavailable):
    """None of the configured miners answers."""

    code = "NO_MINER_REACHABLE"


class ChainMoved(Conflict):
    """The chain changed while it was being read: read it again."""

    code = "CHAIN_MOVED"


class BillInconsistent(Conflict):
    """The blocks that a miner hands out do not add up to what the rules pay."""

    code = "BILL_INCONSISTENT"


# --- files ------------------------------------------------------------------------------------------------------------


class ConfigInvalid(InvalidInput):
    """A setting is missing or has a value that is not possible."""

    code = "CONFIG_INVALID"


class MalformedGenesis(InvalidInput):
    """A genesis file cannot be read."""

    code = "MALFORMED_GENESIS"


class WrongGenesis(Conflict):
    """A genesis file belongs to another chain than it says, or than is wanted."""

    code = "WRONG_GENESIS"


class KeyFileExists(Conflict):
    """There is a key file of that name already; key files are never overwritten."""

    code = "KEY_FILE_EXISTS"


class KeyFileUnreadable(NotFound):
    """A key file is not there, or may not be read."""

    code = "KEY_FILE_UNREADABLE"


class MalformedKeyFile(InvalidInput):
    """A key file is damaged, or is no key file."""

    code = "MALFORMED_KEY_FILE"


class WrongPassphrase(Refused):
    """The passphrase does not open the key file."""

    code = "WRONG_PASSPHRASE"


class PassphraseNeeded(Refused):
    """The key file is encrypted: a passphrase is needed."""

    code = "PASSPHRASE_NEEDED"


# --- ledger ----------------------------------------------------------------------------------------------------------


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
    """The task differs from its order in model, aggregation, utility, baseline, evaluation set, prices or norm."""

    code = "TASK_TERMS_MISMATCH"


class TaskClientsOutOfRange(InvalidInput):
    """The task has fewer clients than its order wants, or more than the protocol allows."""

    code = "TASK_CLIENTS_OUT_OF_RANGE"


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


# --- node: learning worker --------------------------------------------------------------------------------------------


class WorkerFailed(Unavailable):
    """The process that decodes, aggregates and trains has failed."""

    code = "WORKER_FAILED"


# --- network ---------------------------------------------------------------------------------------------------------


class PeerUnreachable(Unavailable):
    """The peer does not answer."""

    code = "PEER_UNREACHABLE"


class PeerTimeout(PeerUnreachable):
    """The peer did not answer in time."""

    code = "PEER_TIMEOUT"
    status = "DEADLINE_EXCEEDED"


class WrongRole(Conflict):
    """The peer does not offer this service: it has another role or another version."""

    code = "WRONG_ROLE"


class RemoteError(FedCoinError):
    """The peer reports an error that this version does not know; its code is kept."""

    code = "REMOTE_ERROR"

    def __init__(self, message: str = "", code: str = "") -> None:
        super().__init__(message)
        if code:
            self.__dict__["code"] = code


class TimeLimitExceeded(Unavailable):
    """The request took longer than this node allows."""

    code = "TIME_LIMIT_EXCEEDED"
    status = "DEADLINE_EXCEEDED"


class RateLimited(LimitExceeded):
    """Too many requests from this peer; slow down."""

    code = "RATE_LIMITED"


class RequestTooLarge(LimitExceeded):
    """A message has more bytes than its kind may have."""

    code = "REQUEST_TOO_LARGE"


class RequestIdTooLong(InvalidInput):
    """A request id has at most 64 characters."""

    code = "REQUEST_ID_TOO_LONG"


class InvalidPageToken(InvalidInput):
    """The page token is not one that this list gave out; start again without one."""

    code = "INVALID_PAGE_TOKEN"


class InvalidPageSize(InvalidInput):
    """A page size is 0 (for the default) or more."""

    code = "INVALID_PAGE_SIZE"


class InvalidPeerAddress(InvalidInput):
    """A network address is HOST:PORT with a port from 0 to 65535; an IPv6 host stands in brackets."""

    code = "INVALID_PEER_ADDRESS"


class PortInUse(Conflict):
    """Another program listens on this port."""

    code = "PORT_IN_USE"


class ListenAddressUnavailable(Conflict):
    """This machine cannot listen on this address."""

    code = "LISTEN_ADDRESS_UNAVAILABLE"


class TlsFilesInvalid(InvalidInput):
    """A certificate or its key is missing, expired, of an unsuitable kind, or the two do not belong together."""

    code = "TLS_FILES_INVALID"


class TlsHandshakeFailed(Conflict):
    """The peer is there, but the two sides do not accept each other's certificates."""

    code = "TLS_HANDSHAKE_FAILED"


class BlobNotFound(NotFound):
    """No blob with this digest is held here."""

    code = "BLOB_NOT_FOUND"


class BlobMismatch(InvalidInput):
    """The bytes are not those that digest or size announced."""

    code = "BLOB_MISMATCH"


class BlobTooLarge(LimitExceeded):
    """A blob has more bytes than this node takes."""

    code = "BLOB_TOO_LARGE"


class BlobNotWanted(Conflict):
    """This node has no use for the blob: no task or order that it knows names it."""

    code = "BLOB_NOT_WANTED"


class BlockNotFound(NotFound):
    """No such block is held here."""

    code = "BLOCK_NOT_FOUND"


class LeavesNotFound(NotFound):
    """The leaves of this miner in this race are not held here."""

    code = "LEAVES_NOT_FOUND"


class TransactionNotFound(NotFound):
    """No such transaction is on this node's chain or waiting for a block."""

    code = "TRANSACTION_NOT_FOUND"
