"""Kinds of values on command lines besides amounts: division contracts, ratios, difficulties, enumerations."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, DecimalException
from enum import IntEnum
from typing import Any, TypeVar

import click

from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Sampler
from fedcoin.node.chain_defaults import DEFAULT_SAMPLER

E = TypeVar("E", bound=IntEnum)

_U16 = 2**16 - 1
_U64 = 2**64 - 1


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
        except DecimalException:  # no number, or one whose exponent no Decimal has
            self.fail(f"{value!r} is no number", param, ctx)
        # Compared first: the whole part of 1e999999 has a million digits.
        if not scaled.is_finite() or not 0 < scaled <= _U64 or scaled != int(scaled):
            self.fail(f"{value!r} must be positive and have at most 9 decimals", param, ctx)
        return int(scaled)


SHARES, RATIO, DIFFICULTY = Shares(), Ratio(), Utility()


def names_of(kind: type[IntEnum]) -> click.Choice[str]:
    """A choice of the members' names, as people write them: `negative-loss`."""
    return click.Choice([name_of(member) for member in kind], case_sensitive=False)


def name_of(member: IntEnum) -> str:
    """How people write a member's name."""
    return member.name.lower().replace("_", "-")


def member_of(kind: type[E], text: str) -> E:
    """The member whose name people write like this."""
    return kind[text.upper().replace("-", "_")]


def sampler_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--sampler; the command gets `sampler`, a name."""
    return click.option(
        "--sampler",
        type=names_of(Sampler),
        default=name_of(DEFAULT_SAMPLER),
        show_default=True,
        help="How iterations choose coalitions; exact: all of them, for 20 clients at most.",
    )(function)
