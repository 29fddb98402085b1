"""The least time that the operations and bytes of one iteration need at the machine's measured rates.

FedAvg is linear, so the first layer with parameters acts on the data as the running mean of the clients' own
pre-activations. Computed once a task, they leave for every coalition and sample one addition for each feature of that
layer, and whatever the later layers do. An addition, a maximum or a comparison is counted as much as a fused
multiplication and addition, since a core issues as many of either; the rate of these is half the floating-point
operations per second of the better matrix product.

The pre-activations are read from memory once for each call of the evaluator, which works on a batch of iterations; what
else is read is small. Cores compute while data arrive, so the bound is the larger of the two times, not their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from benchlib.machine import Rates
from fedcoin.core.model import ModelSpec
from fedcoin.learning.architecture import trace_layers


@dataclass(frozen=True)
class Work:
    """Of one iteration: K coalitions on n samples."""

    slots: int
    """Additions, maxima, comparisons and fused multiplications and additions."""
    bytes: float
    """Read from memory."""

    def compute_seconds(self, rates: Rates) -> float:
        """For the operations alone."""
        return self.slots / (max(rates.square_gflops, rates.layer_gflops) / 2 * 1e9)

    def memory_seconds(self, rates: Rates) -> float:
        """For the bytes alone; a copy moves each byte twice, and both count in its rate."""
        return self.bytes / (rates.copy_gbytes * 1e9)

    def bound_seconds(self, rates: Rates) -> float:
        """The larger of the two."""
        return max(self.compute_seconds(rates), self.memory_seconds(rates))


def slots_per_sample(spec: ModelSpec) -> dict[str, int]:
    """What one coalition needs for one sample, by kind. Raises as trace_layers."""
    counts = {"additions": 0, "activations": 0, "multiplications": 0, "comparisons": spec.classes}
    first = True
    for step in trace_layers(spec):
        if step.weight is None:
            counts["activations"] += step.operations
        elif first:
            counts["additions"] += prod(step.output_shape)
            first = False
        else:
            counts["multiplications"] += step.operations
    return counts


def work_of_iteration(spec: ModelSpec, clients: int, samples: int, batch: int) -> Work:
    """For a call of `batch` iterations of K = `clients` prefixes. Raises as trace_layers."""
    cached = first_features(spec) * clients * samples * 4
    return Work(sum(slots_per_sample(spec).values()) * clients * samples, cached / batch)


def first_features(spec: ModelSpec) -> int:
    """Pre-activations of one sample in the first layer with parameters. Raises as trace_layers."""
    return next(prod(step.output_shape) for step in trace_layers(spec) if step.weight is not None)


def last_width(spec: ModelSpec) -> int:
    """Inputs of the last layer. Raises as trace_layers."""
    last = trace_layers(spec)[-1]
    assert last.weight is not None, "trace_layers has checked that it is LINEAR"
    return last.weight[1]
