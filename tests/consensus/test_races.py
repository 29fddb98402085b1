"""Which race is worth working on (Observations 1 and 2: one task after another)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcoin.consensus.messages import (
    IterationsDone,
    RaceReady,
    RaceStalled,
    ReceiveBlock,
    ReceiveTask,
    ReceiveTransaction,
    SendTask,
    StartRace,
    StopRace,
    Tick,
)
from fedcoin.consensus.races import MAX_HELD_TASKS, MAX_TASKS_PER_ROUND, TooManyTasks
from fedcoin.core.errors import FedCoinError, TaskExpired, TaskStale, UnknownParent
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import RaceKind, Task, sign_task
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.orders import open_orders
from tests.support.blocks import adopted, lone_node, settled_network
from tests.support.game import play
from tests.support.network import REQUESTER, SERVER, Network, Node, make_genesis, make_task, order_body, place_order


@pytest.fixture
def node() -> Node:
    """A miner whose tip holds two open orders, alone, so that it wins nothing."""
    network = Network(make_genesis(3), nodes=3)
    for nonce in range(2):
        order = sign_transaction(REQUESTER, network.chain_id, nonce, 1, order_body(rounds=2, amount=10**9))
        network.feed(network.nodes[0], ReceiveTransaction(order))
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    posap = network.nodes[0].posap
    assert len(list(open_orders(posap.chain.state))) == 2
    node = lone_node(network.genesis, adopted(posap.chain), mine=True)
    node.now = network.now + 10_000  # type: ignore[attr-defined]
    return node


def orders(node: Node) -> list[bytes]:
    return [record.order_id for record in open_orders(node.posap.chain.state)]


def step(node: Node, event: object, later: int = 0) -> list:  # type: ignore[type-arg]
    return node.posap.step(event, node.now + later)  # type: ignore[arg-type,attr-defined]


def task_of(node: Node, order: bytes, opened: int = 0, lasts: int = 60_000, parent: bytes | None = None) -> Task:
    now = node.now + opened  # type: ignore[attr-defined]
    task = replace(make_task(node, order, now), expiry=now + lasts, parent=parent or node.posap.chain.tip)
    return sign_task(SERVER, node.posap.chain.chain_id, task)


def started(effects: list) -> list[bytes]:  # type: ignore[type-arg]
    return [effect.info.race for effect in effects if isinstance(effect, StartRace)]


def race_of(node: Node, task: Task) -> bytes:
    return next(r.id for r in node.posap.races._races.values() if r.terms.task == task)


def test_the_older_order_comes_first_whichever_task_came_first(node: Node) -> None:
    first, second = orders(node)
    younger, older = task_of(node, second), task_of(node, first)
    effects = step(node, ReceiveTask(younger))
    assert started(effects) == [race_of(node, younger)]
    effects = step(node, ReceiveTask(older))
    assert started(effects) == [race_of(node, older)]
    assert list(node.posap.open_tasks()) == [older, younger]


def test_of_one_rounds_tasks_the_latest_is_mined(node: Node) -> None:
    order = orders(node)[0]
    first, again = task_of(node, order), task_of(node, order, opened=10)
    step(node, ReceiveTask(first))
    assert started(step(node, ReceiveTask(again))) == [race_of(node, again)]


def test_two_tasks_at_once_keep_their_iterations(node: Node) -> None:
    first, second = orders(node)
    younger, older = task_of(node, second, lasts=100_000), task_of(node, first, lasts=5_000)
    start = next(e for e in step(node, ReceiveTask(younger)) if isinstance(e, StartRace))
    step(node, IterationsDone(start.info.race, 0, play(start.info, 0, 4)))
    step(node, ReceiveTask(older))
    back = next(e for e in step(node, Tick(), later=5_001) if isinstance(e, StartRace))
    assert (back.info.race, back.start) == (start.info.race, 4)


def test_a_task_goes_round_once(node: Node) -> None:
    task = task_of(node, orders(node)[0])
    assert any(isinstance(effect, SendTask) for effect in step(node, ReceiveTask(task)))
    assert step(node, ReceiveTask(task)) == []


def test_an_expired_task_is_refused_and_one_that_expires_is_left(node: Node) -> None:
    task = task_of(node, orders(node)[0], lasts=1_000)
    with pytest.raises(TaskExpired):
        step(node, ReceiveTask(task), later=1_001)
    step(node, ReceiveTask(task), later=1_000)
    assert any(isinstance(effect, StopRace) for effect in step(node, Tick(), later=1_001))


def test_a_server_may_publish_again_after_its_tasks_have_expired(node: Node) -> None:
    order = orders(node)[0]
    for number in range(MAX_TASKS_PER_ROUND):
        step(node, ReceiveTask(task_of(node, order, opened=number, lasts=1_000)))
    with pytest.raises(TooManyTasks):
        step(node, ReceiveTask(task_of(node, order, opened=50, lasts=1_000)))
    late = task_of(node, order, opened=2_000)
    assert started(step(node, ReceiveTask(late), later=2_000)) == [race_of(node, late)]


def test_a_stale_task_is_refused(node: Node) -> None:
    with pytest.raises(TaskStale):
        step(node, ReceiveTask(task_of(node, orders(node)[0], parent=node.posap.chain.chain_id)))


def test_a_task_that_comes_before_its_parent_is_held_until_then() -> None:
    network = settled_network(rounds=2)
    blocks = adopted(network.nodes[0].posap.chain)
    late = lone_node(network.genesis, blocks[:1])
    order = blocks[0].transactions[0].id(network.chain_id)
    ahead = lone_node(network.genesis, blocks[:2])
    task = make_task(ahead, order, network.now)
    with pytest.raises(UnknownParent):
        late.posap.step(ReceiveTask(task), network.now)
    effects = late.posap.step(ReceiveBlock(blocks[1]), network.now)
    assert late.posap.chain.height == 2
    assert list(late.posap.open_tasks()) == [task]
    assert any(isinstance(effect, SendTask) for effect in effects)


def test_held_tasks_are_bounded_and_strangers_do_not_drive_out_the_servers(node: Node) -> None:
    ours = task_of(node, orders(node)[0], parent=b"\x09" * 32)
    with pytest.raises(UnknownParent):
        step(node, ReceiveTask(ours))
    for number in range(3 * MAX_HELD_TASKS):
        stranger = PrivateKey(bytes([1 + number]) * 32)
        forged = replace(ours, server=stranger.public_key, order=bytes([number]) * 32)
        with pytest.raises(UnknownParent):
            step(node, ReceiveTask(sign_task(stranger, node.posap.chain.chain_id, forged)))
    assert len(node.posap.races._held) == MAX_HELD_TASKS
    assert ours in node.posap.races._held


def test_a_held_task_needs_a_signature(node: Node) -> None:
    task = replace(task_of(node, orders(node)[0], parent=b"\x09" * 32), signature=bytes(64))
    with pytest.raises(FedCoinError) as caught:
        step(node, ReceiveTask(task))
    assert caught.value.code == "INVALID_SIGNATURE"


def test_a_transaction_behind_a_gap_of_nonces_is_no_reason_to_mine(node: Node) -> None:
    """Else anybody could keep all miners at work for nothing."""
    chain_id = node.posap.chain.chain_id
    gap = sign_transaction(REQUESTER, chain_id, 3, 1, Transfer(SERVER.address, 1))
    step(node, ReceiveTransaction(gap))
    assert node.posap.view().race is None
    step(node, ReceiveTransaction(sign_transaction(REQUESTER, chain_id, 2, 1, Transfer(SERVER.address, 1))))
    assert node.posap.view().kind is RaceKind.AUDIT


def test_an_order_that_expires_while_it_waits_is_no_reason_to_mine(node: Node) -> None:
    chain_id, now = node.posap.chain.chain_id, node.now  # type: ignore[attr-defined]
    order = sign_transaction(REQUESTER, chain_id, 2, 1, order_body(expiry=now + 1_000))
    step(node, ReceiveTransaction(order))
    assert node.posap.view().kind is RaceKind.AUDIT
    effects = step(node, Tick(), later=2_000)
    assert any(isinstance(effect, StopRace) for effect in effects)


def test_a_refund_due_is_a_reason_to_mine() -> None:
    network = Network(make_genesis(3), nodes=3)
    place_order(network, network.nodes[0], expiry=network.now + 30_000)
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    node = lone_node(network.genesis, adopted(network.nodes[0].posap.chain), mine=True)
    node.posap.step(Tick(), network.now)
    later = network.now + 40_000
    assert any(isinstance(effect, StartRace) for effect in node.posap.step(Tick(), later))


def test_a_task_that_cannot_be_begun_waits_behind_all_other_work_also_on_later_tips(node: Node) -> None:
    first, second = orders(node)
    older, younger = task_of(node, first), task_of(node, second)
    step(node, ReceiveTask(older))
    stalled = race_of(node, older)
    assert step(node, RaceStalled(stalled)) == [], "with nothing else to do it is tried on"
    assert started(step(node, ReceiveTask(younger))) == [race_of(node, younger)]
    assert [race.id for race in node.posap.races.aside()] == [stalled]
    again = task_of(node, first, opened=5)
    step(node, ReceiveTask(again))
    assert started(step(node, RaceReady(race_of(node, again)))) == [race_of(node, again)], "the older order, the latest"
    assert node.posap.races.aside() == []


def test_payments_go_on_beside_a_task_that_cannot_be_begun(node: Node) -> None:
    task = task_of(node, orders(node)[0])
    step(node, ReceiveTask(task))
    nonce = get_account(node.posap.chain.state, REQUESTER.address).nonce
    paid = sign_transaction(REQUESTER, node.posap.chain.chain_id, nonce, 10, Transfer(SERVER.address, 1))
    assert started(step(node, ReceiveTransaction(paid))) == [], "a task comes before payments"
    (audit,) = started(step(node, RaceStalled(race_of(node, task))))
    assert audit != race_of(node, task)
    assert started(step(node, RaceReady(race_of(node, task)))) == [race_of(node, task)]
