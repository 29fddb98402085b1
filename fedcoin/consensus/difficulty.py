"""The difficulty rule (§4.2): D such that a block of its kind takes τ, whatever power the miners have.

Expected iterations grow as 1/D², so the rule moves h = 1/D² in proportion to how fast the last W blocks of the kind
were: h' = clamp(τ·Σh / ΣΔ, h/2, 2h). Integers only, so that every node gets the same D. Δ runs from the opening of a
race, not from the block before, so that idle time does not make mining easier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

from fedcoin.core.encoding import Struct, raw, u8, u64, vector
from fedcoin.core.params import ChainParams
from fedcoin.core.task import RaceKind
from fedcoin.ledger.state import State

HARDNESS_ONE = 10**18 << 32
"""h of D = 10^-9, the smallest difference that fixed point knows; h(D) = HARDNESS_ONE // D²."""

EASING_GRACE = 4
"""τ that a race may last before its difficulty eases."""

_MAX_WINDOW = 2**16 - 1
_MAX_HALVINGS = 128


@dataclass(frozen=True)
class Sample:
    """One block of the window."""

    hardness: bytes
    """h as 16 bytes, big-endian."""
    interval: int
    """Δ in milliseconds."""


@dataclass(frozen=True)
class Window:
    """The last W blocks of one kind, oldest first."""

    samples: tuple[Sample, ...] = ()


SAMPLE = Struct(Sample, "fedcoin/v1/difficulty-sample", hardness=raw(16), interval=u64)
WINDOW = Struct(Window, "fedcoin/v1/difficulty-window", samples=vector(SAMPLE.codec, _MAX_WINDOW))


def expected_difficulty(state: State, kind: RaceKind, params: ChainParams) -> int:
    """D, times UTILITY_SCALE, of a block of `kind` whose parent's state is `state`."""
    samples = _window(state, kind).samples
    target = target_interval(kind, params)
    if not samples:
        return params.initial_difficulty if kind is RaceKind.TASK else params.initial_audit_difficulty
    hardness = [int.from_bytes(sample.hardness, "big") for sample in samples]
    last = hardness[-1]
    wanted = target * sum(hardness) // sum(sample.interval for sample in samples)
    eased = min(max(wanted, last // 2, 1), 2 * last)
    return min(max(isqrt(HARDNESS_ONE // eased), params.min_difficulty), params.max_difficulty)


def target_interval(kind: RaceKind, params: ChainParams) -> int:
    """τ in ms."""
    return params.target_interval_ms if kind is RaceKind.TASK else params.audit_interval_ms


def eased_difficulty(difficulty: int, kind: RaceKind, interval: int, params: ChainParams) -> int:
    """D of a block whose race has lasted `interval` ms: the hardness halves for every τ beyond EASING_GRACE.

    What an iteration costs depends on the problem, which the rule above cannot foresee. This bounds what one block can
    cost (§6.3), and keeps a race that is far too hard from stopping the chain.
    """
    halvings = min(interval // target_interval(kind, params) - EASING_GRACE, _MAX_HALVINGS)
    if halvings <= 0:
        return difficulty
    hardness = max(HARDNESS_ONE // difficulty**2 >> halvings, 1)
    return min(isqrt(HARDNESS_ONE // hardness), params.max_difficulty)


def record_interval(state: State, kind: RaceKind, difficulty: int, interval: int, params: ChainParams) -> None:
    """Adds a block of `kind`, mined at D = `difficulty` in `interval` ms, to the window."""
    sample = Sample((HARDNESS_ONE // difficulty**2).to_bytes(16, "big"), interval)
    samples = (*_window(state, kind).samples, sample)[-params.difficulty_window :]
    state.put(_key(kind), WINDOW.encode(Window(samples)))


def race_interval(timestamp: int, parent_timestamp: int, openings: Sequence[int]) -> int:
    """Δ in ms: from the opening of a race to its block.

    The opening is the lower median of what the certificate's miners say, so that no single one can move it, and not
    before the parent block.
    """
    opened = sorted(openings)[(len(openings) - 1) // 2]
    return max(1, timestamp - max(parent_timestamp, opened))


def _key(kind: RaceKind) -> bytes:
    return b"d" + u8.write(kind)


def _window(state: State, kind: RaceKind) -> Window:
    entry = state.get(_key(kind))
    return Window() if entry is None else WINDOW.decode(entry)
