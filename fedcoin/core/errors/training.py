"""Orders and rounds between requester, FL server and clients."""

from __future__ import annotations

from fedcoin.core.errors.base import Conflict, InvalidInput, LimitExceeded, NotFound, Refused, Unavailable


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


class UpdateCopied(Conflict):
    """Another client has handed in the very same update; train your own."""

    code = "UPDATE_COPIED"


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
