from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin.core.transaction import Schedule
from fedcoin.ledger.prices import RoundPrices, divide, round_prices


def test_paragraph_4_3_example_seven_one_two(world):
    (prices,) = round_prices(world.order(amount=1000, rounds=1))
    assert prices == RoundPrices(train=700, com=100, sap=200)


def test_largest_remainder_and_ties_to_the_lower_index():
    assert divide(10, (1, 1, 1)) == (4, 3, 3)
    assert divide(11, (1, 1, 1)) == (4, 4, 3)
    assert divide(3, (7, 1, 2)) == (2, 0, 1)
    assert divide(1, (1, 2, 2)) == (0, 1, 0)
    assert divide(0, (0, 3)) == (0, 0)


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 2**70), min_size=1, max_size=20).filter(any))
def test_divide_sums_to_the_amount_and_stays_within_a_unit_of_the_exact_part(amount, weights):
    parts = divide(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(amount * weight, sum(weights))) < 1
        assert weight or not part


@pytest.mark.parametrize(("amount", "weights"), [(5, (0, 0)), (5, ()), (5, (2, -1)), (-1, (1,))])
def test_divide_refuses_what_cannot_be_divided(amount, weights):
    with pytest.raises(ValueError, match="divided"):
        divide(amount, weights)


def test_equal_schedule(world):
    assert [price.train for price in round_prices(world.order(amount=1000, rounds=3))] == [234, 233, 233]


def test_geometric_schedule_falls_by_its_ratio(world):
    order = world.order(
        amount=7000,
        rounds=3,
        schedule=Schedule.GEOMETRIC,
        ratio_numerator=1,
        ratio_denominator=2,
        com_share=0,
        sap_share=0,
    )
    assert [price.train for price in round_prices(order)] == [4000, 2000, 1000]


def test_ratio_is_the_same_whether_reduced_or_not(world):
    def prices(numerator, denominator):
        return round_prices(
            world.order(
                amount=99_999,
                rounds=7,
                schedule=Schedule.GEOMETRIC,
                ratio_numerator=numerator,
                ratio_denominator=denominator,
            )
        )

    assert prices(2, 3) == prices(20_000, 30_000)


@given(data=st.data())
def test_prices_of_all_rounds_sum_to_v_exactly(new_world, data):
    world = new_world_once(new_world)
    denominator = data.draw(st.integers(1, 65535))
    order = world.order(
        amount=data.draw(st.integers(1, 2**63 - 1)),
        rounds=data.draw(st.integers(1, 60)),
        train_share=data.draw(st.integers(1, 65535)),
        com_share=data.draw(st.integers(0, 65535)),
        sap_share=data.draw(st.integers(0, 65535)),
        schedule=Schedule.GEOMETRIC,
        ratio_numerator=data.draw(st.integers(1, denominator)),
        ratio_denominator=denominator,
    )
    prices = round_prices(order)
    assert sum(price.total for price in prices) == order.amount
    trains = [price.train for price in prices]
    assert trains == sorted(trains, reverse=True)


def new_world_once(factory, kept=[]):  # noqa: B006 - one world serves all examples, none changes it
    if not kept:
        kept.append(factory())
    return kept[0]


def test_the_hardest_schedule_is_still_quick_and_exact(world):
    order = world.order(
        amount=2**62, rounds=1000, schedule=Schedule.GEOMETRIC, ratio_numerator=65534, ratio_denominator=65535
    )
    assert sum(price.total for price in round_prices(order)) == 2**62
