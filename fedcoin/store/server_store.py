"""An FL server's database: its orders, their rounds, the updates of their clients, and blobs.

    family   key                                            value
    -------  ---------------------------------------------  -------------------------------------------------
    default  "role" "version" "chain"                       whose folder this is (identity.py)
             "meta/" name                                   anything small
    orders   order id                                       record
    rounds   order id ‖ u16 round                           record
    updates  order id ‖ u16 round ‖ client's public key     record
    blobs    as in layout.py

A record is JSON: a mapping of names to texts, integers, floats, booleans, None, bytes (written as {"$bytes": hex}),
lists and mappings of these.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedcoin.core.encoding import u16
from fedcoin.core.errors import StoreCorrupt
from fedcoin.store.blobs import BlobTable
from fedcoin.store.database import DEFAULT, Batch, Database
from fedcoin.store.identity import check_identity
from fedcoin.store.layout import BLOBS, META_PREFIX

Record = dict[str, Any]
"""Names to plain values."""

ROLE = "server"
_ORDERS, _ROUNDS, _UPDATES = "orders", "rounds", "updates"
_BYTES = "$bytes"


class ServerStore(BlobTable):
    """The database in a server's data folder. Each write is atomic; `sync` makes it survive a loss of power."""

    def __init__(self, path: Path, chain_id: bytes) -> None:
        """Opens or creates the folder `path` of chain `chain_id`.

        Raises DataFolderInUse, WrongChain, WrongDataFolder, StoreCorrupt, StoreUnavailable.
        """
        self.path = path
        self._db = Database(path, (_ORDERS, _ROUNDS, _UPDATES, BLOBS))
        self._at_hand = OrderedDict()
        try:
            check_identity(self._db, path, ROLE, chain_id)
        except BaseException:
            self._db.close()
            raise

    def put_order(self, order_id: bytes, record: Mapping[str, Any]) -> None:
        """Keeps what the server knows of an order."""
        self._db.put(_ORDERS, order_id, _encode(record))

    def get_order(self, order_id: bytes) -> Record | None:
        """The order's record, or None. Raises StoreCorrupt."""
        return _found(self._db.get(_ORDERS, order_id))

    def orders(self) -> dict[bytes, Record]:
        """All orders by id."""
        return {key: _decode(data) for key, data in self._db.scan(_ORDERS)}

    def delete_order(self, order_id: bytes) -> None:
        """Forgets an order with its rounds and updates, in one step."""
        batch = Batch()
        batch.delete(_ORDERS, order_id)
        for family in (_ROUNDS, _UPDATES):
            for key, _ in self._db.prefixed(family, order_id):
                batch.delete(family, key)
        self._db.write(batch)

    def put_round(self, order_id: bytes, round_index: int, record: Mapping[str, Any]) -> None:
        """Keeps what the server knows of a round."""
        self._db.put(_ROUNDS, order_id + u16.write(round_index), _encode(record))

    def get_round(self, order_id: bytes, round_index: int) -> Record | None:
        """The round's record, or None. Raises StoreCorrupt."""
        return _found(self._db.get(_ROUNDS, order_id + u16.write(round_index)))

    def rounds(self, order_id: bytes) -> dict[int, Record]:
        """All rounds of an order by number."""
        pairs = self._db.prefixed(_ROUNDS, order_id)
        return {int.from_bytes(key[len(order_id) :], "big"): _decode(data) for key, data in pairs}

    def put_update(self, order_id: bytes, round_index: int, client: bytes, record: Mapping[str, Any]) -> None:
        """Keeps a client's update of a round (its blob apart); `client` is a public key."""
        self._db.put(_UPDATES, order_id + u16.write(round_index) + client, _encode(record))

    def updates(self, order_id: bytes, round_index: int) -> dict[bytes, Record]:
        """All updates of a round by the client's public key."""
        prefix = order_id + u16.write(round_index)
        return {key[len(prefix) :]: _decode(data) for key, data in self._db.prefixed(_UPDATES, prefix)}

    def put_meta(self, name: str, record: Mapping[str, Any]) -> None:
        """Keeps something small under a name."""
        self._db.put(DEFAULT, META_PREFIX + name.encode(), _encode(record))

    def get_meta(self, name: str) -> Record | None:
        """What was kept under a name, or None."""
        return _found(self._db.get(DEFAULT, META_PREFIX + name.encode()))

    def sync(self) -> None:
        """Returns once everything written so far is on the disk. Call it in a thread: it lets others run meanwhile."""
        self._db.sync()

    def close(self) -> None:
        """Gives the folder free."""
        self._db.close()


def _found(data: bytes | None) -> Record | None:
    return None if data is None else _decode(data)


def _encode(record: Mapping[str, Any]) -> bytes:
    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return {_BYTES: value.hex()}
        raise TypeError(f"{type(value).__name__} has no place in a record")

    return json.dumps(dict(record), default=plain, sort_keys=True, separators=(",", ":")).encode()


def _decode(data: bytes) -> Record:
    def rich(value: dict[str, Any]) -> Any:
        return bytes.fromhex(value[_BYTES]) if set(value) == {_BYTES} else value

    try:
        record = json.loads(data, object_hook=rich)
    except (ValueError, TypeError) as error:
        raise StoreCorrupt("a stored record is not JSON: restore a copy of the data folder") from error
    if not isinstance(record, dict):
        raise StoreCorrupt("a stored record is no mapping: restore a copy of the data folder")
    return record
