"""How much the tests of this folder try: little and the same each time, or without end and at random.

The environment variable FEDCOIN_FUZZ multiplies the number of examples and draws them at random; `make fuzz` sets it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("FEDCOIN_FUZZ", "0"))
"""0: the deterministic profile."""


def profile(examples: int, steps: int = 30) -> settings:
    """`examples` of them by default; `steps`: rules in one example of a state machine."""
    return settings(
        max_examples=examples * max(1, FACTOR),
        stateful_step_count=steps,
        derandomize=FACTOR == 0,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
