"""Kinds of values on command lines besides amounts: division contracts, ratios, difficulties."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

import click

from fedcoin.core.params import UTILITY_SCALE

_U16 = 2**16 - 1


class Shares(click.ParamType):
    """`7:1:2`; the value is three integers."""

    name = "T:C:S"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Three integers that are not all 0."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"\s*([0-9]{1,5})\s*:\s*([0-9]{1,5})\s*:\s*([0-9]{1,5})\s*", str(value))
        shares = tuple(int(share) for share in match.groups()) if match else ()
        if not shares or not any(shares) or max(shares) > _U16:
            self.fail(f"{value!r} is no division such as 7:1:2", param, ctx)
        return shares


class Ratio(click.ParamType):
    """`4/5`; the value is two integers."""

    name = "N/M"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Numerator and denominator of a ratio above 0 and at most 1."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"\s*([0-9]{1,5})\s*/\s*([0-9]{1,5})\s*", str(value))
        ratio = tuple(int(part) for part in match.groups()) if match else ()
        if not ratio or not 0 < ratio[0] <= ratio[1] <= _U16:
            self.fail(f"{value!r} is no ratio such as 4/5 (above 0, at most 1)", param, ctx)
        return ratio


class Utility(click.ParamType):
    """A utility, distance or difficulty as a decimal; the value is fixed point."""

    name = "D"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number times UTILITY_SCALE, exact."""
        try:
            scaled = Decimal(str(value)) * UTILITY_SCALE
        except InvalidOperation:
            self.fail(f"{value!r} is no number", param, ctx)
        if not scaled.is_finite() or scaled <= 0 or scaled != int(scaled):
            self.fail(f"{value!r} must be positive and have at most 9 decimals", param, ctx)
        return int(scaled)


SHARES, RATIO, DIFFICULTY = Shares(), Ratio(), Utility()
