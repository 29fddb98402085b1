"""Runs the state machines of tests/fuzz for as many steps as wanted."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from hypothesis import seed as with_seed
from hypothesis.stateful import run_state_machine_as_test

MACHINES = {"ledger": "tests.fuzz.ledger_machine:LedgerMachine", "chain": "tests.fuzz.chain_machine:ChainMachine"}
EXAMPLES_A_RUN = 100
STEPS_AN_EXAMPLE = 50
_REPORT_SECONDS = 20.0


@dataclass
class MachineRun:
    """What a machine has gone through."""

    name: str
    steps: int
    examples: int
    seconds: float
    failure: str = ""


def run_machine(name: str, steps: int, seed: int, say: Callable[[str], None] = lambda line: None) -> MachineRun:
    """Runs one machine again and again, until so many rules have run or one example has failed."""
    module, _, kind = MACHINES[name].partition(":")
    machine = getattr(import_module(module), kind)
    profile = import_module("tests.fuzz.profile").profile
    machine.steps_done = 0
    examples, number, began = 0, 0, time.monotonic()
    spoken = began
    while machine.steps_done < steps:
        try:
            run_state_machine_as_test(
                with_seed(seed + number)(machine), settings=profile(EXAMPLES_A_RUN, STEPS_AN_EXAMPLE)
            )
        except Exception:
            failure = f"seed {seed + number}:\n{traceback.format_exc()[-8000:]}"
            return MachineRun(name, machine.steps_done, examples, time.monotonic() - began, failure)
        number += 1
        examples += EXAMPLES_A_RUN
        if time.monotonic() > spoken + _REPORT_SECONDS:
            spoken = time.monotonic()
            say(f"{name}: {machine.steps_done} steps in {spoken - began:.0f} s")
    return MachineRun(name, machine.steps_done, examples, time.monotonic() - began)


def steps_table(runs: list[MachineRun]) -> str:
    """One line a machine."""
    lines = [f"{'machine':8} {'steps':>9} {'examples':>9} {'seconds':>8} {'failures':>8}"]
    lines += [
        f"{run.name:8} {run.steps:>9} {run.examples:>9} {run.seconds:>8.0f} {int(bool(run.failure)):>8}" for run in runs
    ]
    return "\n".join(lines)
