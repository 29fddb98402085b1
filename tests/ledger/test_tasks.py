from dataclasses import replace

import pytest

from fedcoin.core.errors import (
    InvalidSignature,
    OrderNotFound,
    OrderNotOpen,
    TaskClientsOutOfRange,
    TaskContributorsMismatch,
    TaskContributorTwice,
    TaskExpired,
    TaskExpiryInvalid,
    TaskRoundMismatch,
    TaskSamplerDoesNotFit,
    TaskSamplesZero,
    TaskServerMismatch,
    TaskTermsMismatch,
)
from fedcoin.core.task import Aggregation, Baseline, Sampler, UpdateRef, Utility, sign_task
from fedcoin.ledger.orders import get_order
from fedcoin.ledger.tasks import verify_task


def verify(world, task, timestamp=None):
    timestamp = world.timestamp if timestamp is None else timestamp
    verify_task(world.state, task, world.chain_id, world.params, timestamp)


def refused(world, task, error, match=None, timestamp=None):
    with pytest.raises(error, match=match) as caught:
        verify(world, task, timestamp)
    assert type(caught.value) is error


@pytest.fixture
def order_id(world):
    return world.place(min_clients=2)


def test_task_on_its_orders_terms_passes(world, order_id):
    verify(world, world.task(order_id))
    verify(world, world.task(order_id, ("alice", "bob")))


def test_task_of_an_unknown_order_is_refused(world, order_id):
    refused(world, world.task(order_id, order=bytes(32)), OrderNotFound)


def test_task_of_a_closed_order_is_refused(world, order_id):
    task = world.task(order_id)
    world.block(timestamp=get_order(world.state, order_id).order.expiry + 1)
    refused(world, task, OrderNotOpen)


def test_only_the_orders_server_may_publish(world, order_id):
    task = sign_task(
        world.key("mallory"), world.chain_id, replace(world.task(order_id), server=world.key("mallory").public_key)
    )
    refused(world, task, TaskServerMismatch)


@pytest.mark.parametrize("number", [1, 2, 1000])
def test_only_the_next_round_may_be_published(world, order_id, number):
    refused(world, world.task(order_id, round=number), TaskRoundMismatch, "next one is 0")


@pytest.mark.parametrize("field", ["train_price", "com_price", "sap_price"])
@pytest.mark.parametrize("off", [-1, 1])
def test_prices_are_the_orders_to_the_unit(world, order_id, field, off):
    changed = getattr(world.task(order_id), field) + off
    refused(world, world.task(order_id, **{field: changed}), TaskTermsMismatch, field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("aggregation", Aggregation.WEIGHTED),
        ("utility", Utility.NEGATIVE_LOSS),
        ("baseline", Baseline.ZERO),
        ("sampler", Sampler.ANTITHETIC),
        ("evaluation_set", bytes(32)),
    ],
)
def test_problem_is_the_one_ordered(world, order_id, field, value):
    problem = replace(world.problem(1, 3), **{field: value})
    refused(world, world.task(order_id, problem=problem), TaskTermsMismatch, field)


def test_model_is_the_one_ordered(world, order_id):
    problem = world.problem(1, 3)
    problem = replace(problem, model=replace(problem.model, classes=3))
    refused(world, world.task(order_id, problem=problem), TaskTermsMismatch, "model")


def test_norm_is_the_chains(world, order_id):
    refused(world, world.task(order_id, norm=0), TaskTermsMismatch, "norm")


def test_too_few_clients(world, order_id):
    refused(world, world.task(order_id, ("alice",)), TaskClientsOutOfRange, "2 at least")


def test_one_contributor_for_each_update(world, order_id):
    contributors = world.task(order_id).contributors
    refused(world, world.task(order_id, contributors=contributors[:2]), TaskContributorsMismatch)
    refused(world, world.task(order_id, contributors=()), TaskContributorsMismatch)


def test_no_client_stands_twice(world, order_id):
    refused(world, world.task(order_id, ("alice", "bob", "alice")), TaskContributorTwice)


def test_updates_rest_on_samples(world, order_id):
    problem = world.problem(1, 3)
    problem = replace(problem, updates=(*problem.updates[:2], UpdateRef(bytes(32), 0)))
    refused(world, world.task(order_id, problem=problem), TaskSamplesZero, "update 2")


def test_exact_sampler_serves_twenty_clients(world):
    order_id = world.place(sampler=Sampler.EXACT)
    for clients in (20, 21):
        problem = replace(world.problem(1, clients), sampler=Sampler.EXACT)
        task = world.task(order_id, tuple(f"client{number}" for number in range(clients)), problem=problem)
        if clients == 20:
            verify(world, task)
        else:
            refused(world, task, TaskSamplerDoesNotFit, "21 clients.*EXACT serves 20")


def test_other_samplers_serve_as_many_clients_as_a_task_may_have(world):
    order_id = world.place(sampler=Sampler.HYBRID)
    problem = replace(world.problem(1, 21), sampler=Sampler.HYBRID)
    verify(world, world.task(order_id, tuple(f"client{number}" for number in range(21)), problem=problem))


def test_expiry_lies_between_opening_and_the_orders_expiry(world, order_id):
    expiry = get_order(world.state, order_id).order.expiry
    refused(world, world.task(order_id, expiry=expiry + 1), TaskExpiryInvalid)
    refused(world, world.task(order_id, expiry=world.timestamp), TaskExpiryInvalid)
    refused(world, world.task(order_id, opened_at=expiry), TaskExpiryInvalid)


def test_no_block_after_the_tasks_expiry_settles_it(world, order_id):
    task = world.task(order_id, expiry=world.timestamp + 50)
    verify(world, task, world.timestamp + 50)
    refused(world, task, TaskExpired, timestamp=world.timestamp + 51)


def test_servers_signature_covers_everything(world, order_id):
    task = world.task(order_id)
    refused(world, replace(task, difficulty=task.difficulty + 1), InvalidSignature)
    refused(world, replace(task, parent=bytes(32)), InvalidSignature)
    refused(world, replace(task, signature=bytes(64)), InvalidSignature)


def test_task_of_another_chain_is_refused(world, order_id):
    with pytest.raises(InvalidSignature):
        verify_task(world.state, world.task(order_id), bytes(32), world.params, world.timestamp)


def test_client_signed_its_update_for_this_round_only(world, order_id):
    first = world.task(order_id)
    world.block(task=first, averaged=(1, 1, 1))
    replayed = world.task(order_id, problem=first.problem, contributors=first.contributors)
    refused(world, replayed, InvalidSignature)


def test_server_cannot_name_a_client_that_did_not_sign(world, order_id):
    honest = world.task(order_id)
    forged = (*honest.contributors[:2], replace(honest.contributors[2], public_key=world.key("mallory").public_key))
    refused(world, world.task(order_id, contributors=forged), InvalidSignature)


def test_server_cannot_swap_the_updates_of_two_clients(world, order_id):
    problem = world.problem(1, 3)
    honest = world.task(order_id)
    swapped = replace(problem, updates=(problem.updates[1], problem.updates[0], problem.updates[2]))
    refused(world, world.task(order_id, problem=swapped, contributors=honest.contributors), InvalidSignature)
