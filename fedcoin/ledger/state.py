"""The state of a chain: one flat map from key to value, whose Merkle root stands in every header.

Keys are a prefix byte and what it names; values are canonical bytes (`core.encoding`):

    key                              value
    a ‖ address (20)                 account: balance u64, nonce u64. Absent while both are 0.
    o ‖ order id (32)                order with its progress: `orders.ORDER_RECORD`
    q ‖ sequence (u64)               order id (32) of an OPEN order; sequences ascend in the order of confirmation
    m ‖ public key (33)              registered miner, also one that is leaving or convicted: `miners.MINER_RECORD`
    c ‖ case id (32)                 fraud case until it lapses or is paid out: `fraud.FRAUD_CASE`
    p                                the problem that was settled last (the genesis problem at first): `task.PROBLEM`
    n                                u64: the sequence that the next order gets
    d ‖ kind (u8, `RaceKind`)        difficulty window of a kind of block; written by consensus

The root is that of an RFC 6962 tree over the entries in ascending order of their keys (as bytes); a leaf's data is
u32 length of the key ‖ key ‖ value. Escrows and bonds are ordinary accounts, so the supply is the sum over
all accounts.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping

from fedcoin.ledger.state_tree import StateTree

ACCOUNT_KEY = b"a"
ORDER_KEY = b"o"
OPEN_ORDER_KEY = b"q"
MINER_KEY = b"m"
FRAUD_CASE_KEY = b"c"
PROBLEM_KEY = b"p"
NEXT_SEQUENCE_KEY = b"n"
DIFFICULTY_KEY = b"d"


class State:
    """Key → value, or a fork: a scratch overlay that reads through to the state below it and keeps writes to itself.

    Whoever may fail half-way works on a fork and drops it, or hands `changes()` to `apply` of the state below. A state
    must not be changed while forks of it are in use, except by such an `apply` of the fork's own changes.
    """

    def __init__(self, entries: Mapping[bytes, bytes] | None = None) -> None:
        self._base: State | None = None
        self._entries: dict[bytes, bytes | None] = dict(entries or {})
        """In a fork, None stands for removed."""
        self._keys: list[bytes] = sorted(self._entries)
        """Ascending; in a fork empty, because its keys depend on the state below."""
        self._tree: StateTree | None = None
        """Of some earlier moment; never in a fork. None before the first root is asked for."""
        self._since: dict[bytes, bytes | None] = {}
        """What has changed since that moment."""
        self._ahead: tuple[dict[bytes, bytes | None], StateTree] | None = None
        """The tree of the fork whose root was asked for last, with its changes: they are likely to be applied next."""

    def get(self, key: bytes) -> bytes | None:
        """Value of the key; None if there is none."""
        state: State | None = self
        while state is not None:
            if key in state._entries:
                return state._entries[key]
            state = state._base
        return None

    def put(self, key: bytes, value: bytes | None) -> None:
        """Sets the value; None removes the key."""
        if self._base is not None:
            self._entries[key] = value
            return
        if self._tree is not None:
            self._since[key] = value
        if value is not None:
            if key not in self._entries:
                insort(self._keys, key)
            self._entries[key] = value
        elif self._entries.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def keys(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Keys that begin with `prefix`, ascending. Writes during the iteration do not show in it."""
        return iter(self._sorted_keys(prefix))

    def fork(self) -> State:
        """A scratch overlay over this state, which may itself be a fork."""
        fork = State()
        fork._base = self
        return fork

    def changes(self) -> dict[bytes, bytes | None]:
        """What a fork would change in the state below: key → new value (None: removed).

        Of a state that is no fork: all its entries.
        """
        return {key: value for key, value in sorted(self._entries.items()) if value != self._below(key)}

    def undo(self) -> dict[bytes, bytes | None]:
        """What takes a fork's changes back: key → value in the state below (None: was absent). Ask before `apply`."""
        return {key: self._below(key) for key in self.changes()}

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Writes `changes()` of a fork, or `undo()` of one to take it back."""
        for key, value in changes.items():
            self.put(key, value)

    def entries(self) -> dict[bytes, bytes]:
        """A copy of everything, keys ascending."""
        return {key: value for key in self.keys() if (value := self.get(key)) is not None}

    def root(self) -> bytes:
        """Merkle root over all entries. Few changes since it was last asked for cost few hashes."""
        layers: list[State] = []
        state = self
        while state._base is not None:
            layers.append(state)
            state = state._base
        if not layers:
            return self._current_tree().root()
        changes: dict[bytes, bytes | None] = {}
        for layer in reversed(layers):
            changes.update(layer._entries)
        changes = {key: value for key, value in changes.items() if value != state._entries.get(key)}
        tree = state._current_tree().after(changes)
        state._ahead = changes, tree
        return tree.root()

    def _below(self, key: bytes) -> bytes | None:
        return self._base.get(key) if self._base is not None else None

    def _sorted_keys(self, prefix: bytes) -> list[bytes]:
        if self._base is None:
            start = bisect_left(self._keys, prefix)
            if not prefix:
                return self._keys[:]
            end = start
            while end < len(self._keys) and self._keys[end].startswith(prefix):
                end += 1
            return self._keys[start:end]
        below = self._base._sorted_keys(prefix)
        own = [key for key in self._entries if key.startswith(prefix)]
        if not own:
            return below
        present = [key for key in below if key not in self._entries]
        return sorted(present + [key for key in own if self._entries[key] is not None])

    def _current_tree(self) -> StateTree:
        if self._tree is None:
            self._tree = StateTree().after(self._entries)
        elif self._since:
            ahead = self._ahead
            self._tree = ahead[1] if ahead and ahead[0] == self._since else self._tree.after(self._since)
            self._since, self._ahead = {}, None
        return self._tree


def supply(state: State) -> int:
    """Units of all accounts together, escrows and bonds included: the same at every height."""
    values = (state.get(key) for key in state.keys(ACCOUNT_KEY))
    return sum(int.from_bytes(value[:8], "big") for value in values if value is not None)
