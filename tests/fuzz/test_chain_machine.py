"""The chain under any sequence of blocks, valid or not, on any branch: see chain_machine.py. Long: `make fuzz`."""

from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.chain_machine import ChainMachine
from tests.fuzz.profile import profile


def test_the_tip_is_the_longest_valid_chain_whatever_comes() -> None:
    run_state_machine_as_test(ChainMachine, settings=profile(20, 30))
