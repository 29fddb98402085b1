"""gRPC's own log: a caller that goes away while it is answered is no fault of ours, and must not fill the log."""

from __future__ import annotations

import asyncio
import logging

LOGGER = "grpc._cython.cygrpc"
_GONE = ("ExecuteBatchError", "InternalError", "UsageError")
"""gRPC's errors for sending to a call that has ended; it exports no classes for all of them."""


class CallerGone(logging.Filter):
    """Keeps gRPC's tracebacks about calls that have ended out of the log; what a servicer raises is not concerned."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False: the record is dropped."""
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not (kind.__name__ in _GONE or issubclass(kind, asyncio.CancelledError))


_FILTER = CallerGone()


def install() -> None:
    """May be called often."""
    logging.getLogger(LOGGER).addFilter(_FILTER)
