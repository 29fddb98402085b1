"""Table 1: the seven fields of a block's header, and Fig. 3: its body."""

from __future__ import annotations

import pytest

from fedcoin.consensus.difficulty import expected_difficulty
from fedcoin.core.block import Block, body_root
from fedcoin.core.task import RaceKind
from fedcoin.shapley.distance import within_distance
from fedcoin.shapley.mean import averaged
from tests.support.blocks import Position, adopted, position, settled_network
from tests.support.network import MINERS


@pytest.fixture(scope="module")
def chain() -> tuple[list[Block], list[Position]]:
    network = settled_network(rounds=2)
    blocks = adopted(network.nodes[0].posap.chain)
    return blocks, [position(network.genesis, blocks, height) for height in (1, 2, 3)]


def test_block_id_is_the_height(chain: tuple[list[Block], list[Position]]) -> None:
    assert [block.header.height for block in chain[0]] == [1, 2, 3]


def test_winners_id_is_the_public_key_that_signed(chain: tuple[list[Block], list[Position]]) -> None:
    for block in chain[0]:
        assert block.header.winner in {key.public_key for key in MINERS}
        assert block.header.winner == block.certificate[0].miner
        block.verify_winner()


def test_averaged_s_is_that_of_line_16_over_the_others(chain: tuple[list[Block], list[Position]]) -> None:
    for block in chain[0]:
        mean = averaged((estimate.total, estimate.time) for estimate in block.certificate[1:])
        assert (block.header.averaged_total, block.header.averaged_time) == mean


def test_previous_hash(chain: tuple[list[Block], list[Position]]) -> None:
    blocks, places = chain
    assert [block.header.previous for block in blocks] == [places[0].genesis.id(), blocks[0].id(), blocks[1].id()]


def test_winners_s(chain: tuple[list[Block], list[Position]]) -> None:
    for block in chain[0]:
        own, header = block.certificate[0], block.header
        assert (header.winner_total, header.winner_time) == (own.total, own.time)
        mean = header.averaged_total, header.averaged_time
        assert within_distance(own.total, own.time, *mean, 2, header.difficulty)


def test_difficulty_is_the_required_d(chain: tuple[list[Block], list[Position]]) -> None:
    for block, place in zip(*chain, strict=True):
        assert block.header.difficulty == expected_difficulty(place.state, block.header.kind, place.genesis.params)


def test_merkle_tree_root_is_organized_with_the_transactions_of_the_body(
    chain: tuple[list[Block], list[Position]],
) -> None:
    blocks, _ = chain
    for block in blocks:
        assert block.header.merkle_root == body_root(block.payments, block.transactions)
    assert blocks[0].transactions
    assert blocks[0].header.merkle_root != body_root((), ())


def test_fig3_body_holds_task_specification_and_transactions(chain: tuple[list[Block], list[Position]]) -> None:
    order_block, *task_blocks = chain[0]
    assert order_block.header.kind is RaceKind.AUDIT
    assert len(order_block.transactions) == 1
    for block in task_blocks:
        assert block.task is not None
        assert block.task.id(block.header.chain_id) == block.header.task
        assert block.task.difficulty == block.header.difficulty
        assert block.payments
