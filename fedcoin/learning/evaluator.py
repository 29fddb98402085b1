"""The coalition evaluator: v(C) = ℱ(𝒜({w_k | k ∈ C})) for many coalitions at once (Alg. 1 lines 6 and 8).

An engine scores the coalitions (see `engine`); here updates are checked and stacked, and scores become utilities. These
are fixed point; floats do not leave this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcoin.core.errors import AggregationImpossible, CoalitionsMalformed, EvaluationTooLarge
from fedcoin.core.model import ModelSpec
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Aggregation, Baseline, Problem, Utility
from fedcoin.learning.choice import open_engine
from fedcoin.learning.device import default_memory_limit, resolve_device
from fedcoin.learning.evaluation_set import decode_evaluation_set
from fedcoin.learning.fedavg import client_weights
from fedcoin.learning.game import Game
from fedcoin.learning.models import Weights, parameter_count, tensor_shapes
from fedcoin.learning.training import check_samples
from fedcoin.learning.weights import decode
from fedcoin.shapley.walks import Values, Walks, walks_of

Coalitions = npt.NDArray[np.bool_]

MAX_STACKED_BYTES = 8 << 30
"""Of all updates of a task together, as float32."""
TINY = 2.0**-100
"""Parameters and features of no larger magnitude count as 0. No trained model rests on them, and processors take up
to a hundred times as long for floats below the smallest normal one, so a client could slow every miner."""
_AT_A_TIME = 1 << 20


class TorchEvaluator:
    """Evaluates coalitions of K updates of one architecture on an evaluation set."""

    def __init__(
        self,
        spec: ModelSpec,
        updates: Sequence[Weights],
        samples: Sequence[int] | None,
        x: Tensor,
        y: Tensor,
        utility: Utility,
        empty_value: int,
        device: str = "auto",
        memory_limit_bytes: int | None = None,
        threads: int | None = None,
    ) -> None:
        """Take the updates (weighted by `samples`, or equally if None), the evaluation set and v(∅).

        `empty_value` is in fixed point. `memory_limit_bytes` bounds everything that is cached and allocated besides the
        stacked updates and the evaluation set (default: `default_memory_limit`); values do not depend on it. `threads`
        are those of the CPU (default: as many as torch uses).

        Raises AggregationImpossible, EvaluationTooLarge, DeviceUnavailable, SamplesDoNotFit, MemoryTooSmall and as
        tensor_shapes.
        """
        place = resolve_device(device)
        counts = np.array(client_weights(len(updates), samples), dtype=np.float64)
        check_samples(spec, x, y)
        stack = _stack(spec, updates)
        limit = memory_limit_bytes if memory_limit_bytes is not None else default_memory_limit(place)
        workers = max(1, threads if threads is not None else torch.get_num_threads())
        self._game = Game(spec, stack, counts, _without_tiny(x), y, utility, place, limit, workers)
        self._empty_value = empty_value
        self._engine = open_engine(self._game)

    @property
    def clients(self) -> int:
        """K."""
        return self._game.clients

    @property
    def samples(self) -> int:
        """Samples of the evaluation set."""
        return self._game.samples

    @property
    def empty_value(self) -> int:
        """v(∅), times UTILITY_SCALE."""
        return self._empty_value

    @property
    def engine(self) -> str:
        """The name of the engine that was chosen."""
        return self._engine.name

    def values(self, walks: Walks) -> Values:
        """v(C), times UTILITY_SCALE, of the marked coalitions of `walks`, in their order: int64 [evaluations].

        Accuracy is ⌊right · UTILITY_SCALE / n⌋; the negative loss is −round(mean loss · UTILITY_SCALE). Raises
        CoalitionsMalformed for walks of another number of clients, and MemoryTooSmall if the device runs out.
        """
        if walks.clients != self.clients:
            raise CoalitionsMalformed(f"walks of {walks.clients} clients for a problem of {self.clients}")
        if not walks.evaluations:
            return np.zeros(0, dtype=np.int64)
        scores = self._engine.scores(walks)
        if self._game.utility == Utility.ACCURACY:
            return np.asarray(scores * UTILITY_SCALE // self._game.samples, dtype=np.int64)
        return np.asarray(-np.rint(scores / self._game.samples * UTILITY_SCALE), dtype=np.int64)

    def utilities(self, coalitions: Coalitions) -> Values:
        """v(C), times UTILITY_SCALE, of each row of `coalitions` (bool [B, K]): int64 [B].

        As `values` of the walks that add the members in ascending order; equal rows get equal values, and empty ones
        v(∅). Raises CoalitionsMalformed.
        """
        rows = np.asarray(coalitions)
        if rows.dtype != np.bool_ or rows.ndim != 2 or rows.shape[1] != self.clients:
            raise CoalitionsMalformed(f"expected bool [B, {self.clients}], got {rows.dtype}{list(rows.shape)}")
        if not len(rows):
            return np.zeros(0, dtype=np.int64)
        _, positions, inverse = np.unique(np.packbits(rows, axis=1), axis=0, return_index=True, return_inverse=True)
        distinct = rows[positions]
        members = [np.flatnonzero(row).tolist() for row in distinct]
        marks = [[False] * (len(row) - 1) + [True] for row in members if row]
        values = np.full(len(distinct), self._empty_value, dtype=np.int64)
        values[distinct.any(axis=1)] = self.values(walks_of(self.clients, [row for row in members if row], marks))
        return np.asarray(values[inverse.reshape(-1)])


def starting_value(
    spec: ModelSpec,
    base: Weights,
    x: Tensor,
    y: Tensor,
    utility: Utility,
    device: str = "auto",
    memory_limit_bytes: int | None = None,
    threads: int | None = None,
) -> int:
    """The utility of the round's starting model, times UTILITY_SCALE: v(∅) for Baseline.STARTING_MODEL.

    Arguments and errors are those of TorchEvaluator.
    """
    evaluator = TorchEvaluator(spec, [base], None, x, y, utility, 0, device, memory_limit_bytes, threads)
    return int(evaluator.utilities(np.ones((1, 1), dtype=np.bool_))[0])


def open_evaluator(
    spec: ModelSpec,
    base: bytes,
    updates: Sequence[bytes],
    samples: Sequence[int],
    evaluation_set: bytes,
    aggregation: Aggregation,
    utility: Utility,
    baseline: Baseline,
    device: str = "auto",
    memory_limit_bytes: int | None = None,
    threads: int | None = None,
) -> TorchEvaluator:
    """The evaluator of a problem from its blobs, which may be hostile: everything is checked.

    `samples` are the n_k that weigh the updates where the aggregation is WEIGHTED. Raises the errors of
    `weights.decode`, `decode_evaluation_set`, `tensor_shapes` and TorchEvaluator.
    """
    if len(samples) != len(updates):
        raise AggregationImpossible(f"{len(samples)} sample counts for {len(updates)} updates")
    _check_stack(spec, len(updates))
    x, y = decode_evaluation_set(evaluation_set, spec)
    start = decode(base, spec)
    empty_value = 0
    if baseline == Baseline.STARTING_MODEL:
        empty_value = starting_value(spec, start, x, y, utility, device, memory_limit_bytes, threads)
    decoded = [decode(update, spec) for update in updates]
    counts = samples if aggregation == Aggregation.WEIGHTED else None
    return TorchEvaluator(spec, decoded, counts, x, y, utility, empty_value, device, memory_limit_bytes, threads)


def open_problem(
    problem: Problem, blobs: Mapping[bytes, bytes], device: str = "auto", memory_limit_bytes: int | None = None
) -> TorchEvaluator:
    """The evaluator of a problem from its blobs by digest, which the caller has verified. Raises as open_evaluator."""
    return open_evaluator(
        problem.model,
        blobs[problem.base_model],
        [blobs[update.digest] for update in problem.updates],
        [update.samples for update in problem.updates],
        blobs[problem.evaluation_set],
        problem.aggregation,
        problem.utility,
        problem.baseline,
        device,
        memory_limit_bytes,
    )


def _check_stack(spec: ModelSpec, clients: int) -> None:
    size = 4 * clients * parameter_count(spec)
    if size > MAX_STACKED_BYTES:
        raise EvaluationTooLarge(f"{clients} updates of {spec.name!r} need {size} bytes, above {MAX_STACKED_BYTES}")


def _stack(spec: ModelSpec, updates: Sequence[Weights]) -> Tensor:
    """All updates as rows of one tensor, float32 [K, P], without magnitudes up to TINY."""
    _check_stack(spec, len(updates))
    shapes = tensor_shapes(spec)
    flat = torch.empty((len(updates), parameter_count(spec)))
    for row, update in zip(flat, updates, strict=True):
        if {name: tuple(value.shape) for name, value in update.items()} != shapes:
            raise AggregationImpossible(f"an update does not have the tensors of {spec.name!r}")
        torch.cat([update[name].reshape(-1) for name in shapes], out=row)
        _clear_tiny(row)
    return flat


def _clear_tiny(values: Tensor) -> None:
    """Make magnitudes up to TINY zeros, in place."""
    torch.hardshrink(values, TINY, out=values)


def _without_tiny(x: Tensor) -> Tensor:
    """`x`, or a copy without magnitudes up to TINY if there are any. Looked for in parts, to need little memory."""
    if all(torch.equal(part, torch.hardshrink(part, TINY)) for part in x.reshape(-1).split(_AT_A_TIME)):
        return x
    copy = x.clone(memory_format=torch.contiguous_format)
    _clear_tiny(copy)
    return copy
