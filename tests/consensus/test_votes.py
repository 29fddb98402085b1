"""One miner's part in convicting others: when it reports, what it tries, how it votes. Without a network."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from fedcoin.consensus import prosecution as module
from fedcoin.consensus.messages import Audit, AuditItem, ReceiveTransaction, Tick, TrialFinished
from fedcoin.consensus.posap import PoSap
from fedcoin.consensus.prosecution import Prosecution
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.fraud import FraudReport, FraudVote, LeafProof
from fedcoin.core.task import RaceKind, Task
from fedcoin.core.transaction import Body, Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account, put_account, use_nonce
from fedcoin.ledger.fraud import drop_case, get_case, open_case
from fedcoin.ledger.miners import MinerStanding, set_standing
from fedcoin.shapley.leaves import LeafLog
from tests.support.blocks import adopted, settled_network
from tests.support.game import make_problem
from tests.support.memory_storage import MemoryStorage
from tests.support.network import CLIENTS, MINERS, START, make_genesis

OWN, ACCUSED, OTHER = MINERS[0], MINERS[1].public_key, MINERS[2].public_key
NOW = START + 10_000


class Bench:
    """A node on the genesis, and cases as its state would know them."""

    def __init__(self) -> None:
        self.posap = PoSap(make_genesis(4), MemoryStorage(make_genesis(4)), OWN, random.Random(1))
        self.chain = self.posap.chain
        self.mine: Prosecution = self.posap._prosecution
        self.reports: dict[bytes, FraudReport] = {}
        self.mine.files.report_of = lambda case: self.reports.get(case.id)  # type: ignore[method-assign]

    def evidence(self, text: int = 0, miner: int = 1, **changes: object) -> FraudReport:
        log = LeafLog(4)
        log.append([[index + text, 2, 3, 4] for index in range(9)])
        problem = self.chain.genesis.problem
        values: dict[str, object] = {
            "kind": RaceKind.AUDIT,
            "task": problem.id(),
            "parent": self.chain.chain_id,
            "miner": MINERS[miner].public_key,
            "time": 9,
            "total": log.total,
            "leaf_root": log.root(),
            "opened_at": START,
            "signature": b"",
            **changes,
        }
        unsigned = Estimate(**values)  # type: ignore[arg-type]
        estimate = sign_estimate(MINERS[miner], self.chain.chain_id, unsigned)
        before, accused = (LeafProof(index, log.encoded(index), tuple(log.proof(index, 9))) for index in (3, 4))
        return FraudReport(estimate, None, before, accused)

    def opened(self, report: FraudReport, reporter: bytes = OTHER, height: int = 0) -> bytes:
        chain = self.chain
        open_case(chain.state, report, reporter, chain.chain_id, chain.params, height)
        case = report.id(chain.chain_id)
        self.reports[case] = report
        return case

    def convict(self, report: FraudReport, now: int = NOW) -> None:
        """An audit has found this."""
        item = AuditItem(report.estimate, (4,))
        audit = Audit(report.estimate.race, self.chain.genesis.problem, (item,))
        self.mine.audited(audit, {report.estimate.miner: (report.before, report.accused)}, now)

    def wanted_in_time(self) -> list[Body]:
        return self.mine.wanted(NOW + module.TURNS * module.TURN_MS)

    def submit(self, body: Body, miner: int = 0, nonce: int = 0) -> bytes:
        transaction = sign_transaction(MINERS[miner], self.chain.chain_id, nonce, 1, body)
        txid = self.posap.mempool.add(transaction, self.chain.state, NOW)
        self.mine.heard(transaction)
        return txid


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_cases_are_tried_one_at_a_time_the_oldest_first(bench: Bench) -> None:
    late = bench.opened(bench.evidence(1), height=2)
    early = bench.opened(bench.evidence(2), height=1)
    first = bench.mine.next_trial(NOW)
    assert first is not None
    assert (first.case, first.report, first.problem) == (early, bench.reports[early], bench.chain.genesis.problem)
    assert bench.mine.next_trial(NOW) is None
    bench.mine.trial_finished(TrialFinished(early, False), NOW)
    second = bench.mine.next_trial(NOW)
    assert second is not None
    assert second.case == late


def test_guilty_is_voted_and_not_guilty_is_not(bench: Bench) -> None:
    cases = [bench.opened(bench.evidence(text)) for text in (1, 2)]
    for case, guilty in zip(cases, (True, False), strict=True):
        bench.mine.trial_finished(TrialFinished(case, guilty), NOW)
    assert bench.mine.wanted(NOW) == [FraudVote(cases[0])]
    assert bench.mine.next_trial(NOW + 10**9) is None  # each is tried once


def test_a_vote_is_not_sent_twice_and_not_once_the_case_is_gone(bench: Bench) -> None:
    case = bench.opened(bench.evidence(1))
    bench.mine.trial_finished(TrialFinished(case, True), NOW)
    bench.submit(FraudVote(case))
    assert bench.mine.wanted(NOW) == []
    drop_case(bench.chain.state, case)
    assert bench.mine.wanted(NOW) == []
    assert not bench.mine._trials


def test_a_case_that_could_not_be_tried_is_tried_again_after_a_pause(bench: Bench) -> None:
    case = bench.opened(bench.evidence(1))
    assert bench.mine.next_trial(NOW) is not None
    bench.mine.trial_finished(TrialFinished(case, None), NOW)
    assert bench.mine.wanted(NOW) == []
    assert bench.mine.next_trial(NOW + module.TRIAL_RETRY_MS - 1) is None
    assert bench.mine.next_trial(NOW + module.TRIAL_RETRY_MS) is not None


def test_a_trial_that_never_ends_counts_as_lost(bench: Bench) -> None:
    bench.opened(bench.evidence(1))
    assert bench.mine.next_trial(NOW) is not None
    assert bench.mine.next_trial(NOW + module.TRIAL_LOST_MS - 1) is None
    assert bench.mine.next_trial(NOW + module.TRIAL_LOST_MS) is not None


def test_whoever_is_accused_or_not_active_does_not_vote(bench: Bench) -> None:
    bench.opened(bench.evidence(1, miner=0))
    assert bench.mine.next_trial(NOW) is None
    bench.opened(bench.evidence(2))
    assert bench.mine.next_trial(NOW) is not None
    set_standing(bench.chain.state, OWN.public_key, MinerStanding.LEAVING, 1)
    assert bench.mine.next_trial(NOW + 10**9) is None


@pytest.mark.parametrize("change", [{"task": b"?" * 32}, {"kind": RaceKind.TASK}])
def test_an_estimate_of_a_race_that_is_not_known_is_not_tried(bench: Bench, change: dict[str, object]) -> None:
    bench.opened(bench.evidence(1, **change))
    assert bench.mine.next_trial(NOW) is None


def test_a_report_that_names_an_order_of_another_race_gets_no_vote(bench: Bench) -> None:
    report = replace(bench.evidence(1), order=b"o" * 32)
    bench.opened(report)
    assert bench.mine.next_trial(NOW) is None


def test_the_race_of_a_task_is_known_as_long_as_the_task_is(bench: Bench) -> None:
    problem = make_problem(4)
    values: dict[str, object] = {
        **dict.fromkeys(Task.__dataclass_fields__, 1),
        "server": CLIENTS[0].public_key,
        "order": b"o" * 32,
        "parent": bench.chain.chain_id,
        "problem": problem,
        "contributors": (),
        "signature": b"",
    }
    task = Task(**values)  # type: ignore[arg-type]
    report = bench.evidence(1, kind=RaceKind.TASK, task=task.id(bench.chain.chain_id))
    assert bench.mine.files.race_of(report.estimate) is None
    bench.mine.files.note_task(task)
    found = bench.mine.files.race_of(report.estimate)
    assert found is not None
    assert (found.problem, found.order) == (problem, b"o" * 32)
    elsewhere = bench.evidence(1, kind=RaceKind.TASK, task=task.id(bench.chain.chain_id), parent=b"e" * 32)
    assert bench.mine.files.race_of(elsewhere.estimate) is None


# --- reports ---------------------------------------------------------------------------------------------------------


def test_evidence_is_reported_when_it_is_our_turn_and_once(bench: Bench) -> None:
    report = bench.evidence(1)
    bench.convict(report)
    turn = bench.mine._turn(ACCUSED)
    assert 0 <= turn < 4
    if turn:
        assert bench.mine.wanted(NOW + turn * module.TURN_MS - 1) == []
    assert bench.mine.wanted(NOW + turn * module.TURN_MS) == [report]
    bench.submit(report)
    assert bench.wanted_in_time() == []


def test_every_miner_has_a_turn_of_its_own(bench: Bench) -> None:
    nodes = [Prosecution(bench.chain, bench.posap.mempool, key.public_key) for key in MINERS[:4]]
    assert sorted(node._turn(ACCUSED) for node in nodes) == [0, 1, 2, 3]


def test_what_could_not_be_sent_is_tried_again_after_a_pause(bench: Bench) -> None:
    report = bench.evidence(1)
    bench.convict(report)
    due = NOW + module.TURNS * module.TURN_MS
    bench.mine.not_sent(report, due)
    assert bench.mine.wanted(due + module.SEND_RETRY_MS - 1) == []
    assert bench.mine.wanted(due + module.SEND_RETRY_MS) == [report]


def test_a_case_of_others_keeps_us_from_reporting_only_if_it_leads_somewhere(bench: Bench) -> None:
    report = bench.evidence(1)
    bench.convict(report)
    case = bench.opened(bench.evidence(2))
    assert bench.mine.wanted(NOW + module.OTHERS_FIRST_MS - 1) == []  # not tried yet
    bench.mine.trial_finished(TrialFinished(case, False), NOW)
    assert bench.wanted_in_time() == [report]
    bench.mine.trial_finished(TrialFinished(case, True), NOW)
    assert bench.wanted_in_time() == [FraudVote(case)]
    bench.mine.trial_finished(TrialFinished(case, None), NOW)
    assert bench.mine.wanted(NOW + module.OTHERS_FIRST_MS) == [report]


def test_whoever_is_convicted_or_gone_is_not_reported(bench: Bench) -> None:
    bench.convict(bench.evidence(1))
    set_standing(bench.chain.state, ACCUSED, MinerStanding.CONVICTED, 1)
    assert bench.wanted_in_time() == []
    assert not bench.mine._suspects


def test_only_so_many_suspects_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SUSPECTS", 2)
    for miner in (1, 2, 3):
        bench.convict(bench.evidence(1, miner=miner))
    assert set(bench.mine._suspects) == {MINERS[1].public_key, MINERS[2].public_key}


# --- nonces ----------------------------------------------------------------------------------------------------------


def test_a_vote_that_is_not_needed_any_more_does_not_hold_up_what_was_sent_after_it(bench: Bench) -> None:
    case = bench.opened(bench.evidence(1))
    bench.submit(FraudVote(case), nonce=0)
    bench.submit(Transfer(MINERS[2].address, 5), nonce=1)
    drop_case(bench.chain.state, case)
    bench.posap.mempool.revalidate(bench.chain.state, NOW)
    assert bench.mine.wanted(NOW) == [Transfer(OWN.address, 1)]
    bench.submit(Transfer(OWN.address, 1), nonce=0)
    assert bench.mine.wanted(NOW) == []


def test_a_vote_that_waits_behind_a_gap_is_sent_again(bench: Bench) -> None:
    gone, open_one = (bench.opened(bench.evidence(text)) for text in (1, 2))
    bench.submit(FraudVote(gone), nonce=0)
    bench.submit(FraudVote(open_one), nonce=1)
    bench.mine.trial_finished(TrialFinished(open_one, True), NOW)
    assert bench.mine.wanted(NOW) == []
    drop_case(bench.chain.state, gone)
    bench.posap.mempool.revalidate(bench.chain.state, NOW)
    assert bench.mine.wanted(NOW) == [FraudVote(open_one)]


def test_a_vote_that_comes_back_from_an_undone_block_is_not_sent_again(bench: Bench) -> None:
    case = bench.opened(bench.evidence(1))
    bench.mine.trial_finished(TrialFinished(case, True), NOW)
    txid = bench.submit(FraudVote(case))
    transaction = bench.posap.mempool.get(txid)
    assert transaction is not None
    body = (transaction,)
    use_nonce(bench.chain.state, OWN.address)
    bench.posap.mempool.revalidate(bench.chain.state, NOW)
    bench.mine.wanted(NOW)  # a block has taken it in, and one of another branch without it takes its place
    put_account(bench.chain.state, OWN.address, replace(get_account(bench.chain.state, OWN.address), nonce=0))
    bench.posap.mempool.restore(body)
    assert bench.mine.wanted(NOW) == [FraudVote(case)]
    block = adopted(settled_network().nodes[0].posap.chain)[0]
    bench.mine.undone([replace(block, transactions=body)])
    assert bench.mine.wanted(NOW) == []


def test_votes_that_the_chain_has_counted_are_not_sent_again(bench: Bench) -> None:
    case = bench.opened(bench.evidence(1), reporter=OWN.public_key)
    bench.mine.trial_finished(TrialFinished(case, True), NOW)
    assert OWN.public_key in get_case(bench.chain.state, case).votes
    assert bench.mine.wanted(NOW) == []
    assert bench.mine.next_trial(NOW) is None


def test_a_case_that_leads_to_nothing_again_and_again_holds_up_no_other() -> None:
    """Its problem is too heavy to be prepared in time, say: by the end of each try the one before it is due again."""
    bench = Bench()
    heavy = [bench.opened(bench.evidence(text)) for text in range(2)]
    forged = bench.opened(bench.evidence(9), height=1)
    tried: list[bytes] = []
    now = NOW
    while len(tried) < 3:
        trial = bench.mine.next_trial(now)
        assert trial is not None
        tried.append(trial.case)
        now += 2 * module.TRIAL_RETRY_MS
        bench.mine.trial_finished(TrialFinished(trial.case, None), now)
        now += module.TRIAL_RETRY_MS
    assert set(tried) == {*heavy, forged}


def test_one_case_is_looked_into_at_a_time() -> None:
    """Each that names a race which nobody knows costs the reading of many blocks."""
    bench = Bench()
    for text in range(3):
        bench.opened(bench.evidence(text, task=bytes(32)))
    known = bench.opened(bench.evidence(9), height=1)
    looked = 0

    def race_of(estimate: Estimate, find: Any = bench.mine.files.race_of) -> Any:
        nonlocal looked
        looked += 1
        return find(estimate)

    bench.mine.files.race_of = race_of  # type: ignore[method-assign]
    for step in range(3):
        assert bench.mine.next_trial(NOW) is None
        assert looked == step + 1
    trial = bench.mine.next_trial(NOW)
    assert trial is not None
    assert trial.case == known


def test_a_vote_for_a_case_that_lapses_in_the_next_block_is_no_reason_for_one() -> None:
    """Its block would be without a transaction, so nobody could make it, and all would work on it for ever."""
    bench = Bench()
    case = bench.opened(bench.evidence(), height=0)
    bench.posap.step(ReceiveTransaction(sign_transaction(OWN, bench.chain.chain_id, 0, 1, FraudVote(case))), NOW)
    assert bench.posap._transactions_fit
    bench.chain.params = replace(bench.chain.params, bond_blocks=1)
    bench.posap.step(Tick(), NOW + 1)
    assert len(bench.posap.mempool) == 1
    assert not bench.posap._transactions_fit
