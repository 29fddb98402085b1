"""A real problem with its blobs, small enough to be evaluated in no time."""

from __future__ import annotations

import hashlib

import torch

from fedcoin.core.task import Aggregation, Baseline, Problem, Sampler, UpdateRef, Utility
from fedcoin.learning.evaluation_set import encode_evaluation_set
from fedcoin.learning.models import initial_weights, preset
from fedcoin.learning.weights import encode


def make_tiny_problem(
    label: int = 0,
    clients: int = 3,
    sampler: Sampler = Sampler.PERMUTATION,
    baseline: Baseline = Baseline.STARTING_MODEL,
) -> tuple[Problem, dict[bytes, bytes]]:
    """Softmax regression on 60 samples, and the blobs by digest; another problem for each label."""
    spec = preset("softmax", (4,), 3)
    generator = torch.Generator().manual_seed(label)
    x = torch.randn((60, 4), generator=generator)
    y = torch.randint(0, 3, (60,), generator=generator)
    base = encode(initial_weights(spec, label))
    updates = [encode(initial_weights(spec, 100 * label + index + 1)) for index in range(clients)]
    evaluation_set = encode_evaluation_set(x, y)
    blobs = {hashlib.sha256(data).digest(): data for data in (base, evaluation_set, *updates)}
    problem = Problem(
        spec,
        Aggregation.WEIGHTED,
        Utility.NEGATIVE_LOSS,
        baseline,
        sampler,
        hashlib.sha256(base).digest(),
        hashlib.sha256(evaluation_set).digest(),
        tuple(UpdateRef(hashlib.sha256(data).digest(), 10 + index) for index, data in enumerate(updates)),
    )
    return problem, blobs
