"""Amounts of money on the command line are exact."""

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fedcoin.cli.amounts import AMOUNT, format_amount, format_both, parse_amount
from fedcoin.cli.program import Command
from fedcoin.core.errors import AmountMalformed
from fedcoin.core.params import MAX_SUPPLY


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("0", 0),
        ("12", 1_200_000_000),
        ("12.5", 1_250_000_000),
        ("12.", 1_200_000_000),
        (" 12.5 FDC ", 1_250_000_000),
        ("0.00000001", 1),
        ("1.100000000000", 110_000_000),
        ("7 units", 7),
        ("1 unit", 1),
        ("92233720368.54775807", MAX_SUPPLY),
    ],
)
def test_amounts_are_read_exactly(text: str, units: int) -> None:
    assert parse_amount(text) == units


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e3", "1,5", "1.000000001", "0.1.2", ".5.", "NaN", "1.5 units", "١", "92233720368.54775808"],
)
def test_amounts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(AmountMalformed):
        parse_amount(text)


def test_too_many_decimals_are_named_as_the_reason() -> None:
    with pytest.raises(AmountMalformed, match=r"more than 8 decimals.*0\.00000001"):
        parse_amount("0.123456789")


@given(st.integers(0, MAX_SUPPLY))
def test_what_is_shown_reads_back_to_the_unit(units: int) -> None:
    assert parse_amount(format_amount(units)) == units


def test_shown_amounts_have_no_needless_zeros_and_keep_their_sign() -> None:
    assert format_amount(1_250_000_000) == "12.5 FDC"
    assert format_amount(-1) == "-0.00000001 FDC"
    assert format_both(0) == "0 FDC (0 units)"


@click.command(cls=Command)
@click.argument("amount", type=AMOUNT)
def _echo(amount: int) -> None:
    click.echo(amount)


def test_a_wrong_amount_is_a_usage_error_with_status_2() -> None:
    result = CliRunner().invoke(_echo, ["0.123456789"])
    assert result.exit_code == 2
    assert "more than 8 decimals" in result.output
    assert CliRunner().invoke(_echo, ["0.3"]).output == "30000000\n"
