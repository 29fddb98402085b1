"""A chain of blocks; before each of them, blocks at the same place that break one rule each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fedcoin.core.block import BLOCK, Block
from fedcoin.core.genesis import GENESIS as GENESIS_LAYOUT
from fedcoin.core.transaction import MinerRegistration, sign_transaction
from fedcoin.ledger.state import State, supply
from vectorlib.block_builder import Position, advance, audit_block, finished, genesis_position, with_body
from vectorlib.broken_blocks import (
    broken_audits,
    broken_newcomer,
    broken_refunds,
    broken_settlements,
    broken_transactions,
)
from vectorlib.chain_story import DEPOSIT, ORDER, SHAPLEY, pay, settlement
from vectorlib.core_values import code_of
from vectorlib.fraud_story import Stage, fraud_stages
from vectorlib.json_values import big, to_json
from vectorlib.people import CHAIN, GENESIS, MINERS, START, key

Json = dict[str, Any]


def blocks() -> Json:
    """Steps in the order in which a node receives them; one whose `code` is null is adopted, others change nothing."""
    stages: list[Stage] = [
        ("AUDIT block with an order and a transfer", _deposit, broken_transactions),
        ("TASK block that settles round 0", lambda at: settlement(at, SHAPLEY), broken_settlements),
        ("AUDIT block with a registration", _registration, broken_audits),
        (
            "TASK block in which nobody is positive",
            lambda at: settlement(at, (-5_000_000, -100, -7000)),
            broken_newcomer,
        ),
        ("empty AUDIT block when the heartbeat is due, with the new miner", _heartbeat, lambda at: []),
        ("AUDIT block that refunds the expired order", _refund, broken_refunds),
        *fraud_stages(),
    ]
    position = genesis_position()
    steps: list[Json] = []
    for name, valid, broken in stages:
        steps += [_step(bad_name, position, block, False) for bad_name, block in broken(position)]
        block = valid(position)
        step = _step(name, position, block, True)
        position = advance(position, block)
        steps.append({**step, "fields": to_json(BLOCK, block), "supply": big(supply(position.state))})
    return {
        "chain_id": CHAIN.hex(),
        "genesis": to_json(GENESIS_LAYOUT, GENESIS),
        "genesis_encoding": GENESIS_LAYOUT.encode(GENESIS).hex(),
        "genesis_state": _entries(genesis_position().state),
        "genesis_state_root": genesis_position().state.root().hex(),
        "steps": steps,
        "final_state": _entries(position.state),
    }


def _step(name: str, position: Position, block: Block, valid: bool) -> Json:
    code = code_of(lambda: advance(position, block))
    if (code is None) != valid:
        raise AssertionError(f"{name}: {code}")
    return {
        "name": name,
        "height": position.parent.height + 1,
        "block": BLOCK.encode(block).hex(),
        "hash": block.id().hex(),
        "code": code,
    }


def _entries(state: State) -> list[Json]:
    return [{"key": name.hex(), "value": value.hex()} for name, value in state.entries().items()]


def _deposit(at: Position) -> Block:
    return finished(at, audit_block(at, START + 20_000, (DEPOSIT, pay("alice", 0, 123_456_789))))


def _registration(at: Position) -> Block:
    registration = sign_transaction(key("newcomer"), CHAIN, 0, 5000, MinerRegistration("newcomer"))
    return finished(at, audit_block(at, START + 90_000, (registration,), MINERS[:3]))


def _heartbeat(at: Position) -> Block:
    miners = [MINERS[0], *sorted([*MINERS[1:], key("newcomer")], key=lambda miner: miner.public_key)]
    return finished(at, audit_block(at, at.parent.timestamp + 60_000, (), miners))


def _refund(at: Position) -> Block:
    block = audit_block(at, ORDER.expiry + 1)
    return finished(at, replace(with_body(block, block.payments, ())))
