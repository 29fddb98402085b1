"""Makes a simulated network fast: what is computed from bytes or frozen values alone is remembered while it runs.

All nodes are in one process, so what one has encoded, decoded or hashed another need not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fedcoin.core import keys
from fedcoin.core.encoding import Struct
from fedcoin.core.estimate import Estimate
from fedcoin.core.header import BlockHeader
from fedcoin.core.task import Problem, Task
from fedcoin.core.transaction import Transaction

_LIMIT = 20_000


@contextmanager
def remembering() -> Iterator[None]:
    """Pure functions of the core remember their results inside this."""
    patched: list[tuple[type, str, Any]] = [
        (Struct, "digest", _by_identity(Struct.digest, 1)),
        (Struct, "encode", _by_identity(Struct.encode, 1)),
        (Struct, "decode", _by_value(Struct.decode)),
        (BlockHeader, "id", _of_one(BlockHeader.id)),
        (Transaction, "id", _by_identity(Transaction.id, 0)),
        (Problem, "id", _of_one(Problem.id)),
        (Task, "id", _by_identity(Task.id, 0)),
        (BlockHeader, "race", property(_of_one(BlockHeader.race.fget))),  # type: ignore[attr-defined]
        (Estimate, "race", property(_of_one(Estimate.race.fget))),  # type: ignore[attr-defined]
        *_signatures(),
    ]
    before = [(kind, name, kind.__dict__[name]) for kind, name, _ in patched]
    for kind, name, function in patched:
        setattr(kind, name, function)
    try:
        yield
    finally:
        for kind, name, function in before:
            setattr(kind, name, function)


def _signatures() -> list[tuple[type, str, Any]]:
    """What a key has signed here is its signature."""
    curve = type(keys._curve())
    before_sign, before_verify = curve.sign, curve.verify
    public: dict[bytes, bytes] = {}
    good: set[tuple[bytes, bytes, bytes]] = set()

    def sign(self: Any, secret: bytes, digest: bytes) -> bytes:
        if secret not in public:
            public[secret] = self.public_key(secret)
        signature = before_sign(self, secret, digest)
        if len(good) > _LIMIT:
            good.clear()
        good.add((public[secret], digest, signature))
        return signature

    def verify(self: Any, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        return (public_key, digest, signature) in good or before_verify(self, public_key, digest, signature)

    return [(curve, "sign", sign), (curve, "verify", verify)]


def _of_one(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As `_by_identity`, for a function of one frozen object alone."""
    known: dict[int, tuple[Any, Any]] = {}

    def remembered(value: Any) -> Any:
        found = known.get(id(value))
        if found is None:
            if len(known) > _LIMIT:
                known.clear()
            found = known[id(value)] = function(value), value
        return found[0]

    return remembered


def _by_identity(function: Callable[..., Any], place: int) -> Callable[..., Any]:
    """Remembers by the object at `place` of the arguments, which is frozen, and by what else is given."""
    known: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    def remembered(*arguments: Any) -> Any:
        key = tuple(id(each) if index == place else each for index, each in enumerate(arguments))
        found = known.get(key)
        if found is not None:
            return found[0]
        if len(known) > _LIMIT:
            known.clear()
        result = function(*arguments)
        known[key] = result, arguments[place]  # kept alive, so that no other object gets its id
        return result

    return remembered


def _by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[Any, ...], Any] = {}

    def remembered(*arguments: Any) -> Any:
        found = known.get(arguments)
        if found is None:
            if len(known) > _LIMIT:
                known.clear()
            found = known[arguments] = function(*arguments)
        return found

    return remembered
