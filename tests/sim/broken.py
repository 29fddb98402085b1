"""What the simulator says when a rule is broken."""

from __future__ import annotations


class InvariantBroken(AssertionError):
    """A rule that must hold in every run does not."""
