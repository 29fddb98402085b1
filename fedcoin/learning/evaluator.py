"""The coalition evaluator: v(C) = ℱ(𝒜({w_k | k ∈ C})) for many coalitions at once (Alg. 1 lines 6 and 8).

FedAvg is linear, so a coalition's model is a product of its membership weights with the stacked updates, and so are the
pre-activations of a first fully connected layer, which are computed once per client. Utilities are fixed point; floats
do not leave this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcoin.core.errors import AggregationImpossible, CoalitionsMalformed, EvaluationTooLarge
from fedcoin.core.model import ModelSpec
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Aggregation, Baseline, Utility
from fedcoin.learning.batched import LayeredNetwork, batched_network
from fedcoin.learning.device import resolve_device
from fedcoin.learning.evaluation_set import decode_evaluation_set
from fedcoin.learning.fedavg import client_weights
from fedcoin.learning.models import Weights, parameter_count, tensor_shapes
from fedcoin.learning.scoring import count_correct, sum_loss
from fedcoin.learning.training import check_samples
from fedcoin.learning.weights import decode

Coalitions = npt.NDArray[np.bool_]
Values = npt.NDArray[np.int64]

MAX_STACKED_BYTES = 8 << 30
"""Of all updates of a task together, as float32."""
CPU_MEMORY = 1 << 30
"""Default limit of working memory on the CPU."""
_CPU_CHUNK, _CUDA_CHUNK = 64 << 20, 4 << 30
# Larger pieces are not faster; on a CPU they leave the caches.
_LEAST_SAMPLES = 32
# With fewer samples at a time it is quicker to run fewer models.


class CoalitionEvaluator(Protocol):
    """Anything that knows what coalitions are worth."""

    def utilities(self, coalitions: Coalitions) -> Values:
        """v(C), times UTILITY_SCALE, of each row of `coalitions` (bool [B, K]): int64 [B]."""
        ...


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
    ) -> None:
        """Take the updates (weighted by `samples`, or equally if None), the evaluation set and v(∅).

        `empty_value` is in fixed point. `memory_limit_bytes` bounds temporary tensors and cached pre-activations; the
        stacked updates and the evaluation set come on top (default: 1 GiB on the CPU, half of what is free on CUDA).

        Raises AggregationImpossible, EvaluationTooLarge, DeviceUnavailable, SamplesDoNotFit and as tensor_shapes.
        """
        self._device = resolve_device(device)
        self._counts = np.array(client_weights(len(updates), samples), dtype=np.float64)
        self._utility = utility
        self._empty_value = empty_value
        check_samples(spec, x, y)
        stack = _stack(spec, updates)
        self._limit = memory_limit_bytes or _default_limit(self._device, 4 * (stack.numel() + x.numel()))
        self._x, self._y = x.to(self._device), y.to(self._device)
        # Updates that would crowd the device stay on the CPU; each chunk of coalition models is sent over.
        self._stack = stack.to(self._device) if 4 * stack.numel() <= self._limit else stack
        self._network = batched_network(spec, self._device)
        self._preactivations: Tensor | None = None
        if isinstance(self._network, LayeredNetwork) and self._network.first_is_linear:
            self._prepare_first_layer(self._network)

    @property
    def clients(self) -> int:
        """K."""
        return len(self._counts)

    def utilities(self, coalitions: Coalitions) -> Values:
        """v(C), times UTILITY_SCALE, of each row of `coalitions` (bool [B, K]): int64 [B].

        Accuracy is ⌊right · UTILITY_SCALE / n⌋; the negative loss is −round(mean loss · UTILITY_SCALE). Equal rows get
        equal values. Raises CoalitionsMalformed.
        """
        rows = np.asarray(coalitions)
        if rows.dtype != np.bool_ or rows.ndim != 2 or rows.shape[1] != self.clients:
            raise CoalitionsMalformed(f"expected bool [B, {self.clients}], got {rows.dtype}{list(rows.shape)}")
        if not len(rows):
            return np.zeros(0, dtype=np.int64)
        _, positions, inverse = np.unique(np.packbits(rows, axis=1), axis=0, return_index=True, return_inverse=True)
        distinct = rows[positions]
        occupied = distinct.any(axis=1)
        values = np.full(len(distinct), self._empty_value, dtype=np.int64)
        if occupied.any():
            values[occupied] = self._evaluate(distinct[occupied])
        return values[inverse.reshape(-1)]

    def _evaluate(self, coalitions: Coalitions) -> Values:
        """v of coalitions that are distinct and not empty, chunk by chunk."""
        shares = coalitions * self._counts
        membership = torch.from_numpy((shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))
        models, samples = self._chunks()
        with (
            torch.no_grad(),
            # TF32 and autotuned algorithms would make values differ between devices and runs for no need.
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            scores = [self._score(part, samples) for part in torch.split(membership, models)]
        totals = torch.cat(scores).numpy()
        if self._utility == Utility.ACCURACY:
            return np.asarray(totals * UTILITY_SCALE // len(self._y), dtype=np.int64)
        return np.asarray(-np.rint(totals / len(self._y) * UTILITY_SCALE), dtype=np.int64)

    def _score(self, membership: Tensor, chunk: int) -> Tensor:
        """Right answers (int64) or summed losses (float64) of a chunk of coalitions, on the CPU."""
        flat = (membership.to(self._stack.device) @ self._stack).to(self._device)
        membership = membership.to(self._device)
        accurate = self._utility == Utility.ACCURACY
        total = torch.zeros(len(flat), dtype=torch.int64 if accurate else torch.float64, device=self._device)
        for begin in range(0, len(self._y), chunk):
            labels = self._y[begin : begin + chunk]
            if self._preactivations is not None and isinstance(self._network, LayeredNetwork):
                first = self._preactivations[:, :, begin : begin + chunk]
                mixed = (membership @ first.reshape(len(first), -1)).view(len(flat), first.shape[1], -1)
                logits = self._network.after_first(flat, mixed)
            else:
                logits = self._network.logits(flat, self._x[begin : begin + chunk])
            total += count_correct(logits, labels) if accurate else sum_loss(logits, labels)
        return total.cpu()

    def _prepare_first_layer(self, network: LayeredNetwork) -> None:
        """Cache X·W_k + b_k of every client, [K, features, n], and keep only the later layers' parameters stacked.

        Worth it if mixing K pre-activations is cheaper than a product over all input features, and if they fit.
        """
        features = network.steps[0].output_shape[0]
        inputs = network.steps[0].weight[1] if network.steps[0].weight else 0
        fits = 4 * self.clients * features * len(self._y) <= self._limit // 2
        if not fits or self.clients > inputs or self._stack.device != self._device:
            return
        with torch.no_grad():
            cached = torch.empty((self.clients, features, len(self._y)), device=self._device)
            step = max(1, min(_CPU_CHUNK, self._limit // 8) // (4 * self.clients * features))
            for begin in range(0, len(self._y), step):
                part = network.first_layer(self._stack, self._x[begin : begin + step])
                if not bool(torch.isfinite(part).all()):
                    return  # one client's overflow times its membership of 0 would be NaN in coalitions without it
                cached[:, :, begin : begin + step] = part
        self._preactivations = cached
        self._stack = self._stack[:, network.first_parameters :].contiguous()
        self._limit -= 4 * cached.numel()

    def _chunks(self) -> tuple[int, int]:
        """How many coalitions and samples go through the network together."""
        budget = min(self._limit, _CUDA_CHUNK if self._device.type == "cuda" else _CPU_CHUNK)
        per_sample = self._network.bytes_per_sample
        least = min(_LEAST_SAMPLES, len(self._y))
        # Flat, cut into layers, and packed by the matrix product: three copies of each model's parameters.
        by_parameters = self._limit // 6 // max(4, 4 * self._stack.shape[1])
        models = max(1, min(self._network.most_models, by_parameters, budget // (2 * least * per_sample)))
        if self._preactivations is not None:
            per_sample += 4 * self._preactivations[:, :, 0].numel() // models
        return models, max(1, min(len(self._y), budget // (2 * models * per_sample)))


def marginals(evaluator: CoalitionEvaluator, permutations: npt.NDArray[np.int64]) -> Values:
    """S_t of Alg. 1 lines 6–9 for each row of `permutations` (int [n, K]): int64 [n, K], column k for client k.

    Client R(i) gets v(R(1:i)) − v(R(1:i−1)), the first one v({R(1)}) − v(∅), so a row sums to v(all) − v(∅) exactly.
    Raises CoalitionsMalformed.
    """
    orders = np.asarray(permutations)
    if orders.ndim != 2 or orders.dtype.kind not in "iu" or not orders.shape[1]:
        raise CoalitionsMalformed(f"expected integers [n, K], got {orders.dtype}{list(orders.shape)}")
    orders = orders.astype(np.int64)
    count, clients = orders.shape
    places = np.arange(clients)
    if (np.sort(orders, axis=1) != places).any():
        raise CoalitionsMalformed(f"each row must be a permutation of 0 to {clients - 1}")
    ranks = np.argsort(orders, axis=1)
    prefixes = ranks[:, None, :] <= places[None, :, None]
    rows = np.concatenate([np.zeros((1, clients), dtype=np.bool_), prefixes.reshape(-1, clients)])
    values = evaluator.utilities(rows)
    chain = np.concatenate([np.full((count, 1), values[0]), values[1:].reshape(count, clients)], axis=1)
    result = np.empty((count, clients), dtype=np.int64)
    np.put_along_axis(result, orders, np.diff(chain, axis=1), axis=1)
    return result


def starting_value(spec: ModelSpec, base: Weights, x: Tensor, y: Tensor, utility: Utility, device: str = "auto") -> int:
    """The utility of the round's starting model, times UTILITY_SCALE: v(∅) for Baseline.STARTING_MODEL."""
    evaluator = TorchEvaluator(spec, [base], None, x, y, utility, 0, device)
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
    empty_value = starting_value(spec, start, x, y, utility, device) if baseline == Baseline.STARTING_MODEL else 0
    decoded = [decode(update, spec) for update in updates]
    counts = samples if aggregation == Aggregation.WEIGHTED else None
    return TorchEvaluator(spec, decoded, counts, x, y, utility, empty_value, device, memory_limit_bytes)


def _check_stack(spec: ModelSpec, clients: int) -> None:
    size = 4 * clients * parameter_count(spec)
    if size > MAX_STACKED_BYTES:
        raise EvaluationTooLarge(f"{clients} updates of {spec.name!r} need {size} bytes, above {MAX_STACKED_BYTES}")


def _stack(spec: ModelSpec, updates: Sequence[Weights]) -> Tensor:
    """All updates as rows of one tensor, float32 [K, P]."""
    _check_stack(spec, len(updates))
    shapes = tensor_shapes(spec)
    flat = torch.empty((len(updates), parameter_count(spec)))
    for row, update in zip(flat, updates, strict=True):
        if {name: tuple(value.shape) for name, value in update.items()} != shapes:
            raise AggregationImpossible(f"an update does not have the tensors of {spec.name!r}")
        torch.cat([update[name].reshape(-1) for name in shapes], out=row)
    return flat


def _default_limit(device: torch.device, inputs: int) -> int:
    if device.type != "cuda":
        return CPU_MEMORY
    free, _ = torch.cuda.mem_get_info(device)
    return max(256 << 20, (free - inputs) // 2)
