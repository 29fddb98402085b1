"""Registered miners: who may take part in a race, who counts for the quorum, and who has left or was convicted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

from fedcoin.core.encoding import Struct, enum, raw, text, u16, u64
from fedcoin.core.errors import MinerAlreadyRegistered, MinerBarred, MinerLeaving, MinerNotFound, TooManyMiners
from fedcoin.core.keys import PUBLIC_KEY_SIZE
from fedcoin.core.params import MAX_MINERS, ChainParams
from fedcoin.ledger.state import MINER_KEY, State

MAX_MINER_NAME = 64
"""UTF-8 bytes."""


class MinerStanding(IntEnum):
    """What a miner's key may do."""

    REGISTERED = 1
    """It may mine, and counts for the quorum while it is heard."""
    LEAVING = 2
    """It may not mine; its bond comes back when the time is up."""
    CONVICTED = 3
    """Fraud is proven: its bond is taken, and the key is barred for ever."""


@dataclass(frozen=True)
class MinerRecord:
    """A miner that has registered. Its bond is the account at `bond_address(public_key)`."""

    public_key: bytes
    name: str
    """A word for people; empty for miners of the genesis."""
    registered_height: int
    """Height of the block that registered it; 0: the genesis."""
    missed: int
    """Certificates in a row that it was missing from, counted up to the chain's `inactive_after`."""
    standing: MinerStanding
    since: int
    """Height of the block in which it left or was convicted; 0 while it is REGISTERED."""


MINER_RECORD = Struct(
    MinerRecord,
    "fedcoin/v1/miner-record",
    public_key=raw(PUBLIC_KEY_SIZE),
    name=text(MAX_MINER_NAME),
    registered_height=u64,
    missed=u16,
    standing=enum(MinerStanding),
    since=u64,
)


def find_miner(state: State, public_key: bytes) -> MinerRecord | None:
    """The key's record of whatever standing; None if the chain knows no such miner, or no more."""
    value = state.get(MINER_KEY + public_key)
    return _decode(value) if value is not None else None


def get_miner(state: State, public_key: bytes) -> MinerRecord:
    """The miner, of whatever standing. Raises MinerNotFound."""
    miner = find_miner(state, public_key)
    if miner is None:
        raise MinerNotFound(f"{public_key.hex()} is no registered miner; send a registration first")
    return miner


def get_registered(state: State, public_key: bytes) -> MinerRecord:
    """The miner. Raises MinerNotFound, MinerLeaving, or MinerBarred unless it is REGISTERED, active or not."""
    miner = get_miner(state, public_key)
    if miner.standing is MinerStanding.LEAVING:
        raise MinerLeaving
    if miner.standing is MinerStanding.CONVICTED:
        raise MinerBarred
    return miner


def is_miner(state: State, public_key: bytes) -> bool:
    """Whether the key has a miner's record, active or not, of whatever standing."""
    return state.get(MINER_KEY + public_key) is not None


def miners(state: State) -> Iterator[MinerRecord]:
    """All miners of whatever standing, by public key."""
    for key in state.keys(MINER_KEY):
        yield get_miner(state, key[len(MINER_KEY) :])


def active_miners(state: State, params: ChainParams) -> list[MinerRecord]:
    """Miners that count for the quorum, by public key."""
    return [miner for miner in miners(state) if is_active(miner, params)]


def is_active(miner: MinerRecord, params: ChainParams) -> bool:
    """Whether the miner counts for the quorum: REGISTERED and missing from fewer than `inactive_after` certificates in
    a row."""
    return miner.standing is MinerStanding.REGISTERED and miner.missed < params.inactive_after


def may_mine(state: State, public_key: bytes, parent_height: int) -> bool:
    """Whether the key may take part in a race whose parent block has that height; `state`: after the parent.

    It is REGISTERED, and was so strictly before the parent block, or in the genesis, so that nobody chooses a key after
    seeing what the race's permutations will be. An inactive miner may.
    """
    miner = find_miner(state, public_key)
    return miner is not None and miner.standing is MinerStanding.REGISTERED and was_there(miner, parent_height)


def was_there(miner: MinerRecord, parent_height: int) -> bool:
    """Whether the miner registered early enough for a race whose parent block has that height."""
    return miner.registered_height == 0 or miner.registered_height < parent_height


def require_registrable(state: State, public_key: bytes) -> None:
    """Raises MinerAlreadyRegistered, MinerLeaving, MinerBarred, or TooManyMiners if there are MAX_MINERS already.

    Convicted miners do not count: their records stay for ever, and must not keep others out.
    """
    if is_miner(state, public_key):
        get_registered(state, public_key)
        raise MinerAlreadyRegistered
    if sum(miner.standing is not MinerStanding.CONVICTED for miner in miners(state)) >= MAX_MINERS:
        raise TooManyMiners


def register_miner(state: State, public_key: bytes, name: str, height: int, missed: int = 0) -> MinerRecord:
    """Enters a miner; moving its bond is the caller's part. Raises as `require_registrable`.

    `missed`: a miner that registers by transaction begins with `inactive_after`, so it counts for the quorum only from
    its first certificate on. Otherwise a handful of registrations without machines behind them would stop the chain.
    """
    require_registrable(state, public_key)
    miner = MinerRecord(public_key, name, height, missed, MinerStanding.REGISTERED, 0)
    _put(state, miner)
    return miner


def set_standing(state: State, public_key: bytes, standing: MinerStanding, height: int) -> MinerRecord:
    """The miner leaves, or is convicted, in the block at `height`. Raises MinerNotFound."""
    miner = replace(get_miner(state, public_key), standing=standing, since=height)
    _put(state, miner)
    return miner


def remove_miner(state: State, public_key: bytes) -> None:
    """Forgets a miner that has left."""
    state.put(MINER_KEY + public_key, None)


def record_certificate(state: State, members: Collection[bytes], params: ChainParams) -> None:
    """Sets `missed` of the block's certificate members, winner included, to 0 and counts up that of all other
    REGISTERED miners.

    `members`: public keys.
    """
    heard = frozenset(members)
    for miner in miners(state):
        if miner.standing is not MinerStanding.REGISTERED:
            continue
        missed = 0 if miner.public_key in heard else min(miner.missed + 1, params.inactive_after)
        if missed != miner.missed:
            _put(state, replace(miner, missed=missed))


def _put(state: State, miner: MinerRecord) -> None:
    state.put(MINER_KEY + miner.public_key, MINER_RECORD.encode(miner))


@lru_cache(maxsize=8192)
def _decode(value: bytes) -> MinerRecord:
    """Kept by value, because each block looks at all miners."""
    return MINER_RECORD.decode(value)
