"""The ledger under any sequence of transactions, blocks and forks: see ledger_machine.py. Long: `make fuzz`."""

from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.ledger_machine import LedgerMachine
from tests.fuzz.profile import profile


def test_the_ledger_keeps_its_promises_in_any_order_of_events() -> None:
    run_state_machine_as_test(LedgerMachine, settings=profile(40, 40))
