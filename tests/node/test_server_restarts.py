"""An FL server that is stopped at any moment neither loses nor repeats a round."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from fedcoin.rpc.views import OrderPhase
from tests.support.tiny_federation import Federation

VALUES = (0.3, 0.1, -0.05)


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Federation]:
    federation = Federation(tmp_path / "server")
    yield federation
    federation.close()


async def phase(fed: Federation, order_id: bytes) -> OrderPhase:
    return (await fed.requests.order_progress(order_id)).phase


async def _nothing(fed: Federation) -> None:
    await fed.join()


async def _step(fed: Federation) -> None:
    await fed.join()
    await fed.step()


@pytest.mark.parametrize("after", [_nothing, _step])
async def test_restarted_after_every_single_action_it_neither_loses_nor_repeats_a_round(
    fed: Federation, after: Callable[[Federation], Awaitable[None]]
) -> None:
    order_id = await fed.order()

    async def crash() -> None:
        fed.crash()
        await after(fed)

    await crash()
    problems = {}
    for number in range(2):
        await fed.step()
        await crash()
        for client in range(3):
            await fed.train(client)
            await crash()
        await fed.step()
        await crash()
        task = list(fed.chain.tasks.values())[-1]
        assert task.round == number
        problems[number] = task.problem
        await fed.step()
        fed.chain.settle(VALUES)
        await crash()
    await fed.step()
    assert await phase(fed, order_id) is OrderPhase.FINISHED
    assert {task.round: task.problem for task in fed.chain.tasks.values()} == problems
    assert all(problems[task.round] == task.problem for task in fed.chain.tasks.values())
    assert len(await fed.requester.fetch_model(order_id)) > 2600


class Killed(BaseException):
    """The process has ended here."""


async def _live(fed: Federation, order_id: bytes) -> None:
    """Everybody does what they can, until the order is finished."""
    for _ in range(20):
        await fed.join()
        await fed.step()
        await fed.train()
        if fed.chain.open_task() is not None and not fed.chain.blocks[-1].task:
            fed.chain.settle(VALUES)
        if fed.server.book.orders and await phase(fed, order_id) is OrderPhase.FINISHED:
            return
        fed.clock.forward(1000)
    raise AssertionError("the order does not finish")


def _kill_at(fed: Federation, count: int) -> None:
    """End the process at its `count`th write to the store, with everything done that comes before it."""
    left = [count]
    for name in ("put_order", "put_round", "put_update", "put_blob"):
        original = getattr(fed.store, name)

        def write(*arguments: object, original: Callable[..., None] = original) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            original(*arguments)

        setattr(fed.store, name, write)


async def test_killed_at_every_write_it_finishes_the_order_with_the_same_task(tmp_path: Path) -> None:
    problem = None
    for count in range(100):  # 0: never killed
        fed = Federation(tmp_path / str(count))
        order_id = await fed.order(rounds=1)
        _kill_at(fed, count)
        try:
            await _live(fed, order_id)
            survived = True
        except Killed:
            survived = False
            fed.crash()
            await _live(fed, order_id)
        problem = problem or next(iter(fed.chain.tasks.values())).problem
        assert {task.problem.id() for task in fed.chain.tasks.values()} == {problem.id()}
        assert sum(block.task is not None for block in fed.chain.blocks) == 1
        assert len(await fed.requester.fetch_model(order_id)) > 2600
        fed.close()
        if survived and count:
            assert count > 10
            return
    raise AssertionError("there is no end of writes")
