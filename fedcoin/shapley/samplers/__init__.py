"""Samplers: which coalitions an iteration evaluates, and how their values become its leaf (Alg. 1 lines 5–10)."""

from __future__ import annotations

from fedcoin.core.errors import SamplerDoesNotFit
from fedcoin.core.params import MAX_CLIENTS
from fedcoin.core.task import Sampler
from fedcoin.shapley.samplers.antithetic import AntitheticSampler
from fedcoin.shapley.samplers.base import CoalitionSampler
from fedcoin.shapley.samplers.exhaustive import ExhaustiveSampler
from fedcoin.shapley.samplers.hybrid import HybridSampler
from fedcoin.shapley.samplers.hybrid_plan import LEAST_CLIENTS
from fedcoin.shapley.samplers.permutation import PermutationSampler

__all__ = ["CoalitionSampler", "open_sampler"]


def open_sampler(sampler: Sampler, clients: int) -> CoalitionSampler:
    """The sampler for K = `clients` clients.

    HYBRID is PERMUTATION below LEAST_CLIENTS clients. Raises SamplerDoesNotFit.
    """
    if not 1 <= clients <= MAX_CLIENTS:
        raise SamplerDoesNotFit(f"coalitions of 1 to {MAX_CLIENTS} clients are sampled, not of {clients}")
    if sampler is Sampler.ANTITHETIC:
        return AntitheticSampler(clients)
    if sampler is Sampler.EXACT:
        return ExhaustiveSampler(clients)
    if sampler is Sampler.HYBRID and clients >= LEAST_CLIENTS:
        return HybridSampler(clients)
    return PermutationSampler(clients)
