"""Proof of Shapley as a state machine: inputs in, effects out. No I/O, no clock, no randomness of its own."""
