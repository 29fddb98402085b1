"""Amounts of money as people write them: FDC with up to eight decimals. Exact: no float ever holds money."""

from __future__ import annotations

import re

import click

from fedcoin.core.errors import AmountMalformed
from fedcoin.core.params import MAX_SUPPLY, UNITS_PER_FDC

DECIMALS = len(str(UNITS_PER_FDC)) - 1
_FDC = re.compile(r"([0-9]{1,20})(?:\.([0-9]*))?(?:\s*fdc)?", re.IGNORECASE)
_UNITS = re.compile(r"([0-9]{1,20})\s*units?", re.IGNORECASE)


def parse_amount(text: str) -> int:
    """Units of an amount such as `12`, `12.5`, `12.5 FDC` or `1250000000 units`. Raises AmountMalformed."""
    written = text.strip()
    if match := _UNITS.fullmatch(written):
        units = int(match[1])
    elif match := _FDC.fullmatch(written):
        decimals = (match[2] or "").rstrip("0")
        if len(decimals) > DECIMALS:
            raise AmountMalformed(f"{text!r} has more than {DECIMALS} decimals: the smallest amount is 0.{'1':0>8} FDC")
        units = int(match[1]) * UNITS_PER_FDC + int(decimals.ljust(DECIMALS, "0"))
    else:
        raise AmountMalformed(f"{text!r} is no amount: write FDC as 12 or 12.5, or units as '1250000000 units'")
    if units > MAX_SUPPLY:
        raise AmountMalformed(f"{text!r} is more than there can ever be ({format_amount(MAX_SUPPLY)})")
    return units


def format_amount(units: int) -> str:
    """`12.5 FDC`: exact, without zeros at the end."""
    return f"{format_fdc(units)} FDC"


def format_fdc(units: int) -> str:
    """`12.5`: exact, without zeros at the end."""
    whole, rest = divmod(abs(units), UNITS_PER_FDC)
    decimals = str(rest).rjust(DECIMALS, "0").rstrip("0")
    return f"{'-' if units < 0 else ''}{whole}{'.' + decimals if decimals else ''}"


def format_both(units: int) -> str:
    """`12.5 FDC (1250000000 units)`."""
    return f"{format_amount(units)} ({units} units)"


class Amount(click.ParamType):
    """A command line's amount, in FDC; the value is units."""

    name = "FDC"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Units. A configuration file may hold whole numbers and strings, never a float."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            self.fail(f'{value!r} is no exact amount: write it in quotes, as "12.5"', param, ctx)
        try:
            return parse_amount(str(value))
        except AmountMalformed as error:
            self.fail(error.message, param, ctx)


AMOUNT = Amount()
