"""What marks a data folder: its role, the version of its format and its chain."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from fedcoin.core.encoding import Codec, Reader, Struct
from fedcoin.core.errors import MalformedEncoding, StoreCorrupt, WrongChain, WrongDataFolder
from fedcoin.store.database import DEFAULT, Batch, Database

FORMAT_VERSION = b"1"
_ROLE, _VERSION, _CHAIN = b"role", b"version", b"chain"

T = TypeVar("T")


def check_identity(database: Database, path: Path, role: str, chain_id: bytes) -> None:
    """Marks a new folder; raises WrongDataFolder or WrongChain for one that belongs to something else."""
    found = {key: database.get(DEFAULT, key) for key in (_ROLE, _VERSION, _CHAIN)}
    if not any(found.values()):
        batch = Batch()
        for key, value in ((_ROLE, role.encode()), (_VERSION, FORMAT_VERSION), (_CHAIN, chain_id)):
            batch.put(DEFAULT, key, value)
        database.write(batch)
        database.sync()
        return
    if found[_ROLE] != role.encode():
        owner = (found[_ROLE] or b"?").decode(errors="replace")
        raise WrongDataFolder(f"{path} is the data folder of a {owner}, not of a {role}: choose another folder")
    if found[_VERSION] != FORMAT_VERSION:
        raise WrongDataFolder(f"{path} was written by another version of FedCoin: choose another folder and sync again")
    if found[_CHAIN] != chain_id:
        raise WrongChain(
            f"{path} belongs to chain {(found[_CHAIN] or b'').hex()[:16]}…, not to {chain_id.hex()[:16]}…: "
            "choose another folder, or use the genesis file that it was made with"
        )


def decoded(layout: Struct[T] | Codec[T], data: bytes, what: str) -> T:
    """The value that we once stored as `data`. Raises StoreCorrupt if the bytes are none."""
    try:
        if isinstance(layout, Struct):
            return layout.decode(data)
        reader = Reader(data)
        value = layout.read(reader)
        if reader.left:
            raise MalformedEncoding(f"{reader.left} bytes left over")
        return value
    except MalformedEncoding as error:
        raise StoreCorrupt(f"a stored {what} does not decode ({error}): restore a copy, or sync again") from error
