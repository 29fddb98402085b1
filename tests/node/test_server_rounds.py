"""An FL server's orders and rounds: real learning, real ledger and RocksDB, blocks made by the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedcoin.core.errors import ModelNotReady, NoMinerReachable, PeerUnreachable
from fedcoin.core.transaction import PaymentKind, escrow_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.prices import round_prices
from fedcoin.ledger.state import supply
from fedcoin.node.client import PaymentArrived
from fedcoin.node.rounds import RoundPhase, RoundSettings
from fedcoin.rpc.views import OrderInfo, OrderPhase
from tests.support.tiny_chain import OTHER_REQUESTER, START, WINNER, TinyChain
from tests.support.tiny_federation import CLIENT_KEYS, DEADLINE_MS, EVALUATION_SET, SERVER, SETTINGS, Federation

VALUES = (0.3, 0.1, -0.05)


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Federation]:
    federation = Federation(tmp_path / "server")
    yield federation
    federation.close()


async def phase(fed: Federation, order_id: bytes) -> OrderPhase:
    return (await fed.requests.order_progress(order_id)).phase


async def test_alg3_a_whole_order_pays_everybody_and_hands_out_the_model(fed: Federation) -> None:
    before = supply(fed.chain.state)
    order_id = await fed.begin()
    for client in fed.clients.clients:
        await fed.clients.look_once(client)
    for number in range(2):
        assert await phase(fed, order_id) is OrderPhase.TRAINING
        await fed.train()
        await fed.step()
        assert await phase(fed, order_id) is OrderPhase.MINING
        task = fed.chain.open_task()
        assert task is not None
        assert (task.round, task.problem.clients) == (number, 3)
        assert all(digest in fed.chain.blobs for digest in task.problem.blobs)
        fed.chain.settle(VALUES)
        for client in fed.clients.clients:
            await fed.clients.look_once(client)
        await fed.step()
    progress = await fed.requests.order_progress(order_id)
    assert progress.phase is OrderPhase.FINISHED
    assert [report.block for report in progress.reports] == [block.id() for block in fed.chain.blocks[1:]]
    assert progress.reports[1].accuracy > progress.reports[0].accuracy > 0.2
    # 350 per round at 3 : 1 between the two positive clients, 50 for the server, 100 for the winner.
    balances = [get_account(fed.chain.state, key.address).balance for key in CLIENT_KEYS]
    assert balances == [2 * 263, 2 * 87, 0]
    assert get_account(fed.chain.state, SERVER.address).balance == 100
    assert get_account(fed.chain.state, WINNER.address).balance == 200 + 1  # and the fee
    assert get_account(fed.chain.state, escrow_address(order_id)).balance == 0
    assert supply(fed.chain.state) == before
    paid = [(event.client, event.entry.amount) for event in fed.events if isinstance(event, PaymentArrived)]
    assert paid == [("client-0", 263), ("client-1", 87)] * 2
    assert len(await fed.requester.fetch_model(order_id)) > 2600


async def test_the_second_round_starts_from_the_first_ones_model(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train()
    await fed.step()
    first = fed.server.book.rounds[order_id][0]
    fed.chain.settle(VALUES)
    await fed.step()
    assert (await fed.offer()).base_model == first.model
    assert await fed.requests.get_blob(first.model)


async def test_an_order_waits_for_its_evaluation_set(fed: Federation) -> None:
    await fed.join()
    order_id = await fed.order(upload=False)
    await fed.step(2)
    progress = await fed.requests.order_progress(order_id)
    assert progress.phase is OrderPhase.WAITING
    assert "evaluation set" in progress.message
    await fed.requester.upload_again(fed.server.book.orders[order_id].order, EVALUATION_SET)
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.TRAINING


async def test_an_order_waits_for_confirmations(tmp_path: Path) -> None:
    fed = Federation(tmp_path / "server", settings=replace(SETTINGS, confirmations=3))
    order_id = await fed.begin()
    assert "2 more confirmations" in (await fed.requests.order_progress(order_id)).message
    fed.chain.mine()
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.WAITING
    fed.chain.mine()
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.TRAINING
    await fed.train()
    await fed.step()
    fed.chain.settle(VALUES)
    await fed.step()
    assert "waits for confirmations" in (await fed.requests.order_progress(order_id)).message
    fed.chain.mine()
    fed.chain.mine()
    await fed.step()
    assert fed.server.book.round(order_id, 1) is not None
    fed.close()


async def test_observations_1_and_2_one_order_at_a_time(fed: Federation) -> None:
    first = await fed.begin(rounds=1)
    second = await fed.order(OTHER_REQUESTER, rounds=1)
    await fed.step(2)
    assert await phase(fed, first) is OrderPhase.TRAINING
    waiting = await fed.requests.order_progress(second)
    assert (waiting.phase, waiting.reports) == (OrderPhase.WAITING, ())
    assert "another order" in waiting.message
    await fed.train()
    await fed.step()
    assert {task.order for task in fed.chain.tasks.values()} == {first}
    fed.chain.settle(VALUES)
    await fed.step()
    assert await phase(fed, first) is OrderPhase.FINISHED
    assert await phase(fed, second) is OrderPhase.TRAINING


async def test_orders_for_other_servers_are_left_alone(fed: Federation) -> None:
    await fed.order(upload=False, server=b"\x09" * 20)
    await fed.step()
    assert not fed.server.book.orders


async def test_an_order_is_not_missed_when_the_miner_fails_while_its_block_is_read(fed: Federation) -> None:
    await fed.join()
    await fed.step()
    order_id = await fed.order()
    ask = fed.chain.order

    async def fail(*_: object) -> OrderInfo:
        raise PeerUnreachable

    fed.chain.order = fail  # type: ignore[method-assign]
    with pytest.raises(NoMinerReachable):
        await fed.step()
    fed.chain.order = ask  # type: ignore[method-assign]
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.TRAINING


async def test_a_finished_order_whose_settlement_is_taken_back_is_settled_again(fed: Federation) -> None:
    order_id = await fed.begin(rounds=1)
    await fed.train()
    await fed.step()
    fed.chain.settle(VALUES)
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.FINISHED
    fed.chain.undo()
    fed.chain.mine()
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.MINING
    fed.chain.settle(VALUES)
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.FINISHED


async def test_dropouts_a_round_closes_at_its_deadline_with_min_clients(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train(0, 2)
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.TRAINING
    fed.clock.forward(DEADLINE_MS + 1)
    await fed.step()
    task = fed.chain.open_task()
    assert task is not None
    assert [item.public_key for item in task.contributors] == [CLIENT_KEYS[0].public_key, CLIENT_KEYS[2].public_key]


async def test_dropouts_a_round_with_too_few_updates_is_reopened_and_keeps_them(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train(0)
    fed.clock.forward(DEADLINE_MS + 1)
    await fed.step()
    round_ = fed.server.book.rounds[order_id][0]
    assert (round_.attempt, round_.phase, len(round_.submissions)) == (1, RoundPhase.OPEN, 1)
    assert not fed.chain.tasks
    await fed.train(1, 2)
    await fed.step()
    assert fed.chain.open_task() is not None


async def test_alg3_line4_and_line5_no_task_before_the_round_is_trained(fed: Federation) -> None:
    await fed.begin()
    await fed.train(0, 1)
    await fed.step()
    assert fed.chain.open_task() is None, "one selected client is still at work"
    await fed.train(2)
    await fed.step()
    task = fed.chain.open_task()
    assert task is not None
    prices = round_prices((await fed.chain.order(task.order)).order)[task.round]
    assert (task.train_price, task.com_price, task.sap_price) == (prices.train, prices.com, prices.sap)


async def test_a_round_waits_for_enough_clients(fed: Federation) -> None:
    order_id = await fed.order()
    await fed.join(0)
    await fed.step()
    assert (await fed.requests.order_progress(order_id)).message == "1 of 2 clients are there"
    await fed.join(1)
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.TRAINING


async def test_clients_per_round_are_drawn_from_those_who_are_there(tmp_path: Path) -> None:
    rounds = RoundSettings(clients_per_round=2, deadline_ms=DEADLINE_MS, heard_within_ms=10 * DEADLINE_MS)
    fed = Federation(tmp_path / "server", settings=replace(SETTINGS, rounds=rounds))
    order_id = await fed.begin(min_clients=1)
    assert len(fed.server.book.rounds[order_id][0].selected) == 2
    fed.close()


async def test_a_task_is_anchored_again_when_the_tip_moves_or_the_difficulty_changes(fed: Federation) -> None:
    await fed.begin()
    await fed.train()
    await fed.step(2)
    (first,) = fed.chain.tasks.values()
    fed.chain.mine()
    await fed.step()
    second = fed.chain.open_task()
    assert second is not None
    assert second.parent == fed.chain.tip != first.parent
    assert (second.problem, second.contributors) == (first.problem, first.contributors)
    fed.chain.difficulty //= 2
    await fed.step()
    assert list(fed.chain.tasks.values())[-1].difficulty == fed.chain.difficulty
    assert len(fed.chain.tasks) == 3
    await fed.step(3)
    assert len(fed.chain.tasks) == 3


async def test_a_settled_round_is_never_published_again(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train()
    await fed.step()
    fed.chain.settle(VALUES)
    fed.crash()
    await fed.join()
    fed.chain.calls.clear()
    await fed.step(3)
    assert "publish_task" not in fed.chain.calls
    assert fed.server.book.rounds[order_id][0].settled_block == fed.chain.tip
    assert fed.server.book.rounds[order_id][1].phase is RoundPhase.OPEN


async def test_a_reorganisation_that_takes_a_settlement_back_has_the_round_published_again(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train()
    await fed.step()
    first = fed.chain.open_task()
    fed.chain.settle(VALUES)
    await fed.step()
    assert fed.server.book.rounds[order_id][1].phase is RoundPhase.OPEN
    fed.chain.undo()
    fed.chain.mine()
    await fed.step()
    again = fed.chain.open_task()
    assert first is not None
    assert again is not None
    assert (again.round, again.problem) == (0, first.problem)
    fed.chain.settle(VALUES)
    await fed.train()
    await fed.step()
    task = fed.chain.open_task()
    assert task is not None
    assert task.round == 1


async def test_a_reorganisation_that_takes_the_deposit_back_stops_the_order(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train()
    fed.chain.undo()
    deposits, fed.chain.pending = fed.chain.pending, []
    fed.chain.mine()
    await fed.step()
    progress = await fed.requests.order_progress(order_id)
    assert (progress.phase, progress.message) == (OrderPhase.WAITING, "the deposit is not on the chain any more")
    fed.chain.pending = deposits
    fed.chain.mine()
    await fed.step(2)
    assert fed.chain.open_task() is not None


async def test_an_expired_order_fails_and_is_refunded(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train()
    await fed.step()
    fed.clock.now = START + 3_600_001
    await fed.step()
    assert "expired" in (await fed.requests.order_progress(order_id)).message
    fed.chain.mine()
    assert any(payment.kind is PaymentKind.REFUND for payment in fed.chain.blocks[-1].payments)
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.FAILED
    with pytest.raises(ModelNotReady):
        await fed.requester.fetch_model(order_id)


async def test_a_miner_that_does_not_answer_is_passed_over(tmp_path: Path) -> None:
    fed = Federation(tmp_path / "server")
    dead = TinyChain(fed.clock)
    dead.down = True
    fed.close()
    fed = Federation(tmp_path / "server", clock=fed.clock, more_chains=(dead,))
    await fed.begin()
    await fed.train()
    await fed.step()
    assert fed.chain.open_task() is not None
    fed.close()


async def test_a_task_that_no_miner_heard_of_is_published_when_one_is_back(fed: Federation) -> None:
    await fed.begin()
    await fed.train()
    publish = fed.chain.publish_task

    async def refuse(*_: object) -> bytes:
        raise TimeoutError

    fed.chain.publish_task = refuse  # type: ignore[assignment, method-assign]
    await fed.step()
    kept = next(iter(fed.server.book.rounds.values()))[0].task
    fed.chain.publish_task = publish  # type: ignore[method-assign]
    fed.crash()
    await fed.join()
    await fed.step()
    assert list(fed.chain.tasks.values()) == [kept], "the very task that was kept before it was announced"
