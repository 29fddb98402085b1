"""Creating a block (Alg. 1 line 18): certificate, payments, transactions, roots, signature."""

from __future__ import annotations

from dataclasses import replace

from fedcoin.consensus.chain import Chain
from fedcoin.consensus.race import Race
from fedcoin.consensus.transition import execute
from fedcoin.consensus.verify import heartbeat_due, verify_alone
from fedcoin.core.block import BLOCK, Block, BlockHeader, body_root, certificate_root, sign_block
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import PROTOCOL_VERSION
from fedcoin.core.task import RaceKind
from fedcoin.ledger.mempool import Mempool
from fedcoin.ledger.settlement import apply_payments, due_payments
from fedcoin.ledger.state import State

_NO_ROOT = bytes(32)


def assemble_block(chain: Chain, mempool: Mempool, race: Race, key: PrivateKey, now: int) -> tuple[Block, State] | None:
    """The block that ends `race` on the tip of `chain`, with the transactions that fit, and the state after it.

    None if it would have no transactions and no other reason.

    The caller has seen that S is within D of S̄ and that the quorum is there. Raises the error of the rule that keeps
    such a block from being valid, BlockTooLarge for one.
    """
    parent = chain.parent_of_next()
    timestamp = max(now, parent.timestamp + 1)
    certificate = race.certificate()
    averaged = race.averaged()
    own = race.own
    assert averaged is not None, "the caller has seen an S̄"
    assert own is not None, "the caller has seen an S"
    height = parent.height + 1
    payments = due_payments(chain.state, chain.params, height, timestamp, race.terms.task, averaged[0], key.public_key)
    paid = chain.state.fork()
    apply_payments(paid, payments, chain.params, height)
    header = BlockHeader(
        version=PROTOCOL_VERSION,
        chain_id=chain.chain_id,
        kind=race.terms.kind,
        height=height,
        winner=key.public_key,
        averaged_total=averaged[0],
        averaged_time=averaged[1],
        previous=parent.hash,
        winner_total=own.total,
        winner_time=own.time,
        difficulty=race.difficulty_at(timestamp, parent.timestamp, chain.params),
        merkle_root=_NO_ROOT,
        timestamp=timestamp,
        task=race.terms.task_hash,
        certificate_root=certificate_root(certificate),
        state_root=_NO_ROOT,
    )
    bare = Block(header, bytes(64), race.terms.task, certificate, payments, ())
    room = chain.params.max_block_bytes - len(BLOCK.encode(bare))
    transactions = mempool.select(paid, timestamp, key.address, header.height, chain.params.max_transactions, room)
    if race.terms.kind is RaceKind.AUDIT and not (
        transactions or payments or heartbeat_due(parent, timestamp, chain.params)
    ):
        return None
    header = replace(header, merkle_root=body_root(payments, transactions))
    block = replace(bare, header=header, transactions=transactions)
    after = execute(chain.state, block, parent, chain.chain_id, chain.params, chain.verified)
    block = sign_block(key, replace(block, header=replace(header, state_root=after.root())))
    verify_alone(block, chain.chain_id, chain.params, chain.verified)
    return block, after
