"""Peers, limits, TLS, and what was asked for over the wire."""

from __future__ import annotations

from fedcoin.core.errors.base import Conflict, FedCoinError, InvalidInput, LimitExceeded, NotFound, Unavailable


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


class PeerBanned(Unavailable):
    """Too much that was invalid has come from here; this node answers again when the pause is over."""

    code = "PEER_BANNED"
    status = "PERMISSION_DENIED"


class NodeBusy(LimitExceeded):
    """More is waiting to be judged than this node takes; send it again later."""

    code = "NODE_BUSY"


class TransferCutShort(Unavailable):
    """The call ended before everything that was announced had come; send it again."""

    code = "TRANSFER_CUT_SHORT"


class RequestTooSlow(Unavailable):
    """A request must arrive without long pauses."""

    code = "REQUEST_TOO_SLOW"
    status = "DEADLINE_EXCEEDED"


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


class NoRoomForBlobs(LimitExceeded):
    """The blobs of open tasks fill what this node keeps for them; send it again later."""

    code = "NO_ROOM_FOR_BLOBS"


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


class BlocksOutOfOrder(InvalidInput):
    """A peer hands out a chain whose blocks do not follow one another."""

    code = "BLOCKS_OUT_OF_ORDER"
