"""A chain with made-up rules for testing the store; run as a program it adopts blocks until it is killed.

Blocks have the real layout. Their effect on the state is a function of the block alone, so any store can be compared
with a replay.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from fedcoin.consensus.messages import AdoptChain, AppliedBlock
from fedcoin.core.block import Block, BlockHeader
from fedcoin.core.encoding import u64
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import MinerRegistration, Payment, PaymentKind, Transaction, Transfer
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.database import Batch

CHAIN_ID = b"c" * 32
DEPTH = 4
WIDTH = 200
"""Keys that every block changes, so that most of the time goes into writing."""
KEYS = [PrivateKey(bytes([index + 1]) * 32) for index in range(4)]
GENESIS = {b"account" + key.address: u64.write(1_000_000) for key in KEYS}

State = dict[bytes, bytes]


def make_block(parent: bytes, height: int, salt: int) -> Block:
    """A block of its own for each (parent, salt)."""
    rng = random.Random(parent + bytes([height % 256, salt]))
    winner, sender, recipient = (rng.choice(KEYS) for _ in range(3))
    body = MinerRegistration("m") if salt % 5 == 4 else Transfer(recipient.address, rng.randrange(1, 100))
    transaction = Transaction(sender.public_key, height, rng.randrange(3), body, bytes([salt % 256]) * 64)
    paid = Payment(PaymentKind.CLIENT, bytes(32), 0, winner.address, KEYS[salt % 4].address, rng.randrange(1, 50))
    root = bytes(32)
    header = BlockHeader(
        1, CHAIN_ID, RaceKind.AUDIT, height, winner.public_key, (1,), 1, parent, (1,), 1, 1, root, 1000 + height,
        root, root, bytes([salt % 256]) * 32,
    )  # fmt: skip
    return Block(header, bytes(64), None, (), (paid,), (transaction,))


def effect(state: State, block: Block) -> AppliedBlock:
    """What a block does to the state: payments, transactions, fees, and a key that comes and goes."""
    changes: dict[bytes, bytes | None] = {}

    def add(address: bytes, amount: int) -> None:
        key = b"account" + address
        old = changes.get(key) or state.get(key) or u64.write(0)
        changes[key] = u64.write(int.from_bytes(old, "big") + amount)

    winner = next(key.address for key in KEYS if key.public_key == block.header.winner)
    for payment in block.payments:
        add(payment.payer, -payment.amount)
        add(payment.payee, payment.amount)
    for transaction in block.transactions:
        if isinstance(transaction.body, Transfer):
            add(transaction.sender_address, -transaction.body.amount)
            add(transaction.body.recipient, transaction.body.amount)
        add(transaction.sender_address, -transaction.fee)
        add(winner, transaction.fee)
    for number in range(WIDTH):
        changes[b"wide" + u64.write(number)] = block.header.previous
    changes[b"odd"] = u64.write(block.header.height) if block.header.height % 2 else None
    return AppliedBlock(block, changes, {key: state.get(key) for key in changes})


def move(state: State, changes: dict[bytes, bytes | None]) -> State:
    """The state with some keys changed."""
    merged = {**state, **changes}
    return {key: value for key, value in merged.items() if value is not None}


class FakeChain:
    """The adopted chain in memory, and the adoptions that change it."""

    def __init__(self) -> None:
        self.states = [dict(GENESIS)]
        self.blocks: list[Block] = []

    @property
    def tip(self) -> bytes:
        return self.blocks[-1].id() if self.blocks else CHAIN_ID

    def adoption(self, back: int, salts: list[int]) -> AdoptChain:
        """Undoes `back` blocks and applies one block for each salt."""
        undone = [self.blocks.pop() for _ in range(back)]
        del self.states[len(self.blocks) + 1 :]
        applied = []
        for salt in salts:
            done = effect(self.states[-1], make_block(self.tip, len(self.blocks) + 1, salt))
            self.states.append(move(self.states[-1], dict(done.changes)))
            self.blocks.append(done.block)
            applied.append(done)
        return AdoptChain(tuple(undone), tuple(applied))


def replay(store: ChainStore) -> FakeChain:
    """The chain that the stored blocks lead to, from the genesis."""
    loaded = store.load()
    blocks: list[Block] = []
    at = loaded.tip
    while at != CHAIN_ID:
        block = store.get_block(at)
        assert block is not None
        blocks.append(block)
        at = block.header.previous
    chain = FakeChain()
    for block in reversed(blocks):
        chain.states.append(move(chain.states[-1], dict(effect(chain.states[-1], block).changes)))
        chain.blocks.append(block)
    return chain


def adopt_forever(path: Path, seed: int) -> None:
    """Says `ready`, then extends and reorganises the stored chain until it is killed.

    Says `writing` right before each write, so that it can be killed in the middle of one, and then the new height.
    """
    rng = random.Random(seed)
    store = ChainStore(path, CHAIN_ID, DEPTH)
    store.initialise(GENESIS)
    chain = replay(store)
    write = store._db.write

    def announced(batch: Batch) -> None:
        print("writing", flush=True)
        write(batch)

    store._db.write = announced  # type: ignore[method-assign]
    print("ready", flush=True)
    while True:
        back = rng.randrange(min(DEPTH, len(chain.blocks)) + 1)
        adoption = chain.adoption(back, [rng.randrange(256) for _ in range(back + 1)])
        store.write_adoption(adoption)
        print(len(chain.blocks), flush=True)
        if rng.random() < 0.2:
            store.sync()


if __name__ == "__main__":
    adopt_forever(Path(sys.argv[1]), int(sys.argv[2]))
