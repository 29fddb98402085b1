"""What all errors have in common, and the kinds that decide which gRPC status carries them."""

from __future__ import annotations

from typing import ClassVar


class FedCoinError(Exception):
    """Something went wrong inside FedCoin; please report it."""

    code: ClassVar[str] = "INTERNAL"
    """UPPER_SNAKE, stable."""
    status: ClassVar[str] = "INTERNAL"
    """Name of the canonical gRPC status that carries it."""
    reported: bool = False
    """Another node has answered with this error; otherwise it arose here."""

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
