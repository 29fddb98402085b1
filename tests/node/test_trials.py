"""Trials beside the race, and what an operator reads of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fedcoin.consensus.messages import AppliedBlock, NotProsecuted, StartTrial, TrialFinished
from fedcoin.core.errors import InsufficientFunds, StoreUnavailable
from fedcoin.core.fraud import FraudVote
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.ledger.miners import MINER_RECORD, MinerRecord, MinerStanding
from fedcoin.ledger.state import MINER_KEY
from fedcoin.node.mining import Mining
from fedcoin.node.prosecution_log import log_convictions, log_not_prosecuted, log_prosecution
from tests.support.accusations import double_sign_of, report_of
from tests.support.game import make_problem
from tests.support.network import MINERS

CHAIN = b"c" * 32
TRIAL = StartTrial(b"\xca" * 32, report_of(MINERS[1], CHAIN), make_problem(3))


def mining(auditor: object, engine: object) -> Mining:
    unused: Any = None
    return Mining(engine, unused, auditor, unused, unused, unused, unused)  # type: ignore[arg-type]


async def settled(work: Mining) -> None:
    """Until all trials of a miner have ended."""
    await asyncio.gather(*work._audits, return_exceptions=True)


@pytest.mark.parametrize("guilty", [True, False, None])
async def test_a_trial_ends_in_the_state_machine(guilty: bool | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fed: list[object] = []

    async def try_case(effect: StartTrial) -> TrialFinished:
        return TrialFinished(effect.case, guilty)

    async def feed(event: object) -> None:
        fed.append(event)

    work = mining(SimpleNamespace(try_case=try_case), SimpleNamespace(feed=feed))
    work.start_trial(TRIAL)
    await settled(work)
    assert fed == [TrialFinished(TRIAL.case, guilty)]
    (line,) = [record.message for record in caplog.records]
    words = {True: "guilty", False: "not guilty", None: "not to be recomputed now"}
    assert line.endswith(f": {words[guilty]}")
    await work.close()


async def test_a_trial_that_fails_or_is_cut_off_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(effect: StartTrial) -> TrialFinished:
        raise ValueError("broken")

    async def endless(effect: StartTrial) -> TrialFinished:
        await asyncio.Event().wait()
        raise AssertionError

    async def refuse(event: object) -> None:
        raise StoreUnavailable("the node is stopping")

    async def done(effect: StartTrial) -> TrialFinished:
        return TrialFinished(effect.case, True)

    for try_case in (fail, endless, done):
        work = mining(SimpleNamespace(try_case=try_case), SimpleNamespace(feed=refuse))
        work.start_trial(TRIAL)
        if try_case is not endless:
            await settled(work)
        await work.close()
        assert all(task.done() for task in work._audits)
    assert "trial failed" in caplog.text


def test_reports_votes_and_convictions_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    key = MINERS[0]
    bodies = (TRIAL.report, FraudVote(TRIAL.case), double_sign_of(MINERS[1], CHAIN), Transfer(b"a" * 20, 1))
    for body in bodies:
        log_prosecution(sign_transaction(key, CHAIN, 0, 1, body), key.public_key)
        log_prosecution(sign_transaction(MINERS[2], CHAIN, 0, 1, body), key.public_key)  # others' are not ours to tell
    log_not_prosecuted(NotProsecuted(FraudVote(TRIAL.case), InsufficientFunds("no money")))
    miner = MINERS[1].public_key.hex()
    assert [record.message for record in caplog.records] == [
        f"reported miner {miner}: leaf 2 of 5 is forged",
        f"voted guilty in case {TRIAL.case.hex()}",
        f"reported miner {miner}: two blocks of height 7",
        f"not sent: case {TRIAL.case.hex()}: [INSUFFICIENT_FUNDS] no money",
    ]


def test_a_conviction_is_told_in_the_block_that_decides_it_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    miner = MINERS[1].public_key
    record = MinerRecord(miner, "", 0, 0, MinerStanding.REGISTERED, 0)
    convicted = replace(record, standing=MinerStanding.CONVICTED, since=7)
    block: Any = SimpleNamespace(header=SimpleNamespace(height=7))
    key, before, after = MINER_KEY + miner, MINER_RECORD.encode(record), MINER_RECORD.encode(convicted)
    log_convictions(AppliedBlock(block, {key: before}, {key: None}))
    log_convictions(AppliedBlock(block, {key: after}, {key: before}))
    log_convictions(AppliedBlock(block, {key: after, b"a": b""}, {key: after, b"a": b""}))
    log_convictions(AppliedBlock(block, {key: None}, {key: after}))
    assert [line.message for line in caplog.records] == [f"miner convicted on chain: {miner.hex()}, in block 7"]
