"""Registered miners: who may take part in a race, and who counts for the quorum."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from fedcoin.core.encoding import Struct, raw, text, u16, u64
from fedcoin.core.errors import MinerAlreadyRegistered, MinerNotFound, TooManyMiners
from fedcoin.core.keys import PUBLIC_KEY_SIZE
from fedcoin.core.params import MAX_MINERS, ChainParams
from fedcoin.ledger.state import MINER_KEY, State

MAX_MINER_NAME = 64
"""UTF-8 bytes."""


@dataclass(frozen=True)
class MinerRecord:
    """A registered miner."""

    public_key: bytes
    name: str
    """A word for people; empty for miners of the genesis."""
    registered_height: int
    """Height of the block that registered it; 0: the genesis."""
    missed: int
    """Certificates in a row that it was missing from, counted up to the chain's `inactive_after`."""


MINER_RECORD = Struct(
    MinerRecord,
    "fedcoin/v1/miner-record",
    public_key=raw(PUBLIC_KEY_SIZE),
    name=text(MAX_MINER_NAME),
    registered_height=u64,
    missed=u16,
)


def get_miner(state: State, public_key: bytes) -> MinerRecord:
    """The miner. Raises MinerNotFound."""
    value = state.get(MINER_KEY + public_key)
    if value is None:
        raise MinerNotFound(f"{public_key.hex()} is no registered miner; send a registration first")
    return MINER_RECORD.decode(value)


def is_miner(state: State, public_key: bytes) -> bool:
    """Whether the key is a registered miner's, active or not."""
    return state.get(MINER_KEY + public_key) is not None


def miners(state: State) -> Iterator[MinerRecord]:
    """All registered miners, by public key."""
    for key in state.keys(MINER_KEY):
        yield get_miner(state, key[len(MINER_KEY) :])


def active_miners(state: State, params: ChainParams) -> list[MinerRecord]:
    """Miners that count for the quorum, by public key."""
    return [miner for miner in miners(state) if is_active(miner, params)]


def is_active(miner: MinerRecord, params: ChainParams) -> bool:
    """Whether the miner counts for the quorum: missing from fewer than `inactive_after` certificates in a row."""
    return miner.missed < params.inactive_after


def may_mine(state: State, public_key: bytes, parent_height: int) -> bool:
    """Whether the key may take part in a race whose parent block has that height.

    It was registered strictly before the parent block, or in the genesis, so that nobody chooses a key after seeing
    what the race's permutations will be. An inactive miner may.
    """
    value = state.get(MINER_KEY + public_key)
    if value is None:
        return False
    height = MINER_RECORD.decode(value).registered_height
    return height == 0 or height < parent_height


def require_registrable(state: State, public_key: bytes) -> None:
    """Raises MinerAlreadyRegistered, or TooManyMiners if there are MAX_MINERS already."""
    if is_miner(state, public_key):
        raise MinerAlreadyRegistered
    if sum(1 for _ in state.keys(MINER_KEY)) >= MAX_MINERS:
        raise TooManyMiners


def register_miner(state: State, public_key: bytes, name: str, height: int, missed: int = 0) -> MinerRecord:
    """Enters a miner. Raises MinerAlreadyRegistered, TooManyMiners.

    `missed`: a miner that registers by transaction begins with `inactive_after`, so it counts for the quorum only from
    its first certificate on. Otherwise a handful of registrations without machines behind them would stop the chain.
    """
    require_registrable(state, public_key)
    miner = MinerRecord(public_key, name, height, missed)
    _put(state, miner)
    return miner


def record_certificate(state: State, members: Collection[bytes], params: ChainParams) -> None:
    """Sets `missed` of the block's certificate members, winner included, to 0 and counts up that of all others.

    `members`: public keys.
    """
    heard = frozenset(members)
    for miner in miners(state):
        missed = 0 if miner.public_key in heard else min(miner.missed + 1, params.inactive_after)
        if missed != miner.missed:
            _put(state, replace(miner, missed=missed))


def _put(state: State, miner: MinerRecord) -> None:
    state.put(MINER_KEY + miner.public_key, MINER_RECORD.encode(miner))
