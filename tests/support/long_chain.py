"""Long chains over a real genesis file, made in no time, and data folders that hold them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fedcoin.consensus.assemble import assemble_block
from fedcoin.consensus.chain import Chain
from fedcoin.consensus.race import Race
from fedcoin.consensus.races import Races
from fedcoin.core.block import Block
from fedcoin.core.genesis import Allocation
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.mempool import Mempool
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.node.genesis_file import GenesisFile, make_genesis
from fedcoin.node.miner import now_ms
from fedcoin.store.chain_store import ChainStore
from tests.support.blocks import adopted
from tests.support.game import recompute
from tests.support.memory_storage import MemoryStorage
from tests.support.network import MINERS, REQUESTER

PARAMS = replace(
    DEFAULT_PARAMS, name="long", audit_interval_ms=500, initial_audit_difficulty=DEFAULT_PARAMS.max_difficulty
)
AGE_MS = 6 * 3_600_000
"""The chains begin so long ago, so that none of their blocks lies in the future."""


def long_genesis() -> GenesisFile:
    """Three miners, whose keys only the simulation has, and races of one iteration."""
    keys = MINERS[:3]
    shares = [Allocation(key.address, 100 * UNITS_PER_FDC) for key in (REQUESTER, *keys)]
    return make_genesis(PARAMS, shares, [key.public_key for key in keys], now_ms() - AGE_MS)


def make_long_chain(file: GenesisFile, length: int, seed: int = 1) -> list[Block]:
    """Valid blocks with a transfer each, made without an evaluator: their leaves are not what an audit would find.

    Another seed makes another branch from the genesis on.
    """
    storage = MemoryStorage(file.genesis)
    chain = Chain(file.genesis, storage)
    mempool = Mempool(file.chain_id, file.genesis.params, 10)
    keys = MINERS[:3]
    for number in range(length):
        now = file.genesis.timestamp + 1_000 * (number + 1)
        winner = keys[(number + seed) % 3]
        pay = sign_transaction(REQUESTER, file.chain_id, number, PARAMS.min_fee, Transfer(MINERS[0].address, seed))
        mempool.add(pay, chain.state, now)
        race = Races(chain, winner).choose(now, True)
        assert race is not None, "a transfer waits"
        race.opened_at = now - 500
        clients = race.terms.problem.clients
        for key in keys:
            worker = race if key is winner else Race(race.terms, key, file.chain_id, chain.verified)
            worker.opened_at = now - 500
            estimate = worker.add_iterations(0, recompute(race.id, key.public_key, range(1), clients))
            race.receive(estimate)
        made = assemble_block(chain, mempool, race, winner, now)
        assert made is not None, "the race has converged"
        block, after = made
        chain.check_on_tip(block, after)
        chain.insert(block)
        storage.adopt(chain.adopt(block.id()))
        mempool.revalidate(chain.state, now + 1)
        storage.blocks[block.id()] = block
    return adopted(chain)


def write_data(folder: Path, file: GenesisFile, blocks: list[Block]) -> None:
    """A miner's data folder whose chain is `blocks`."""
    store = ChainStore(folder, file.chain_id, PARAMS.finality_depth, PARAMS.miner_bond)
    store.initialise(genesis_state(file.genesis).entries())
    chain = Chain(file.genesis, store)
    for block in blocks:
        chain.insert(block)
        store.write_adoption(chain.adopt(block.id()))
    store.close()
