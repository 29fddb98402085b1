"""The coalition evaluator against one coalition at a time: FedAvg, build, plain forward pass."""

from __future__ import annotations

from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
import pytest
import torch

from fedcoin.core.errors import (
    AggregationImpossible,
    CoalitionsMalformed,
    DeviceUnavailable,
    EvaluationTooLarge,
    MemoryTooSmall,
    SamplesDoNotFit,
    UpdateMalformed,
    UpdateNotFinite,
)
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Aggregation, Baseline, Utility
from fedcoin.learning.choice import open_engine
from fedcoin.learning.device import CPU_MEMORY, default_memory_limit
from fedcoin.learning.engine import Engine
from fedcoin.learning.evaluation_set import encode_evaluation_set
from fedcoin.learning.evaluator import TorchEvaluator, open_evaluator, starting_value
from fedcoin.learning.fedavg import fedavg
from fedcoin.learning.game import Game
from fedcoin.learning.models import Weights, initial_weights, preset
from fedcoin.learning.tensorfile import write_tensors
from fedcoin.learning.training import accuracy, loss
from fedcoin.learning.weights import encode
from fedcoin.shapley.samplers.permutation import marginals as marginals_along
from fedcoin.shapley.walks import walks_of, walks_of_permutations

ALL = np.array([[bool(mask >> k & 1) for k in range(4)] for mask in range(16)])
EMPTY_VALUE = 123


def reference(trained: Any, coalition: np.ndarray, samples: list[int] | None, utility: Utility) -> int:
    members = np.flatnonzero(coalition)
    if not len(members):
        return EMPTY_VALUE
    counts = None if samples is None else [samples[k] for k in members]
    model = fedavg([trained.updates[k] for k in members], counts)
    if utility == Utility.ACCURACY:
        right = round(accuracy(trained.spec, model, trained.x, trained.y) * len(trained.y))
        return right * UTILITY_SCALE // len(trained.y)
    return -round(loss(trained.spec, model, trained.x, trained.y) * UTILITY_SCALE)


def evaluator_of(
    trained: Any,
    samples: list[int] | None = None,
    utility: Utility = Utility.ACCURACY,
    empty: int = EMPTY_VALUE,
    limit: int | None = None,
) -> TorchEvaluator:
    return TorchEvaluator(
        trained.spec, trained.updates, samples, trained.x, trained.y, utility, empty, "cpu", memory_limit_bytes=limit
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_of_every_coalition_is_that_of_its_fedavg_model(trained: Any, weighted: bool) -> None:
    samples = trained.samples if weighted else None
    values = evaluator_of(trained, samples).utilities(ALL)
    expected = [reference(trained, row, samples, Utility.ACCURACY) for row in ALL]
    one_answer = -(-UTILITY_SCALE // len(trained.y))
    assert values.dtype == np.int64
    assert values[0] == EMPTY_VALUE
    # Float sums in another order may turn one sample that lies on the border.
    assert np.abs(values - expected).max() <= one_answer
    assert (values == expected).sum() >= 14
    assert len(set(values.tolist())) > 8, "the coalitions differ, so that agreement means something"


@pytest.mark.parametrize("weighted", [False, True])
def test_negative_loss_of_every_coalition_is_that_of_its_fedavg_model(trained: Any, weighted: bool) -> None:
    samples = trained.samples if weighted else None
    values = evaluator_of(trained, samples, Utility.NEGATIVE_LOSS).utilities(ALL)
    expected = np.array([reference(trained, row, samples, Utility.NEGATIVE_LOSS) for row in ALL])
    assert (values[1:] < 0).all()
    assert np.abs(values - expected).max() <= 2e-6 * UTILITY_SCALE


def marginals(evaluator: TorchEvaluator, orders: np.ndarray) -> np.ndarray:
    return marginals_along(orders, evaluator.values(walks_of_permutations(orders)), evaluator.empty_value)


@pytest.mark.parametrize("utility", list(Utility))
def test_a_memory_limit_does_not_change_values(trained: Any, utility: Utility) -> None:
    large = evaluator_of(trained, None, utility)
    served = 0
    for limit in (200_000, 1_000_000, 200_000_000):
        try:
            small = evaluator_of(trained, None, utility, limit=limit)
        except MemoryTooSmall:
            continue
        served += 1
        if small.engine == large.engine:
            assert (small.utilities(ALL) == large.utilities(ALL)).all()
    assert served


@pytest.mark.parametrize("model", ["softmax", "mlp-16", "cnn"])
def test_too_little_memory_for_one_block_is_said_with_the_need(digits: Any, model: str) -> None:
    spec = preset(model, digits.input_shape, 10)
    with pytest.raises(MemoryTooSmall, match=r"need \d+ bytes"):
        TorchEvaluator(
            spec, [initial_weights(spec, 0)], None, digits.x_test, digits.y_test, Utility.ACCURACY, 0, "cpu", 1000
        )


def test_values_along_walks_are_those_of_the_coalitions(trained: Any) -> None:
    evaluator = evaluator_of(trained, trained.samples, Utility.NEGATIVE_LOSS)
    walks = walks_of(4, [[2, 0, 3, 1], [1, 3], [], [3]], [[True, False, True, True], [False, True], [], [True]])
    assert evaluator.values(walks) == pytest.approx(evaluator.utilities(walks.coalitions()), abs=2e-6 * UTILITY_SCALE)
    assert evaluator.values(walks_of(4, [])).shape == (0,)
    with pytest.raises(CoalitionsMalformed):
        evaluator.values(walks_of(5, [[4]]))


def test_torchvision_coalitions_average_running_statistics() -> None:
    spec = preset("torchvision:shufflenet_v2_x0_5", (3, 32, 32), 3)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(6, 3, 32, 32, generator=generator), torch.arange(6) % 3
    updates: list[Weights] = []
    for seed in range(2):
        weights = initial_weights(spec, seed)
        for name in weights:
            if name.endswith("running_mean"):
                weights[name] = weights[name] + 0.1 * (seed + 1)
        updates.append(weights)
    evaluator = TorchEvaluator(spec, updates, None, x, y, Utility.NEGATIVE_LOSS, 0, "cpu")
    values = evaluator.utilities(np.array([[True, False], [False, True], [True, True]]))
    models = [updates[0], updates[1], fedavg(updates)]
    expected = [-loss(spec, model, x, y) * UTILITY_SCALE for model in models]
    assert values == pytest.approx(expected, abs=1e-5 * UTILITY_SCALE)


@pytest.mark.parametrize(
    "layers",
    [
        (Layer(LayerKind.TANH), Layer(LayerKind.LINEAR, 6), Layer(LayerKind.TANH), Layer(LayerKind.LINEAR, 10)),
        (Layer(LayerKind.MAX_POOL2D, kernel=2, stride=2), Layer(LayerKind.LINEAR, 10)),
        (
            Layer(LayerKind.MAX_POOL2D, kernel=2, stride=1),
            Layer(LayerKind.CONV2D, 3, kernel=3, stride=2, padding=1),
            Layer(LayerKind.TANH),
            Layer(LayerKind.CONV2D, 5, kernel=2, stride=1),
            Layer(LayerKind.LINEAR, 7),
            Layer(LayerKind.RELU),
            Layer(LayerKind.LINEAR, 10),
        ),
    ],
)
def test_unusual_layer_orders_agree_with_the_module(digits: Any, layers: tuple[Layer, ...]) -> None:
    spec = ModelSpec(ModelFamily.LAYERS, "test", digits.input_shape, 10, layers)
    updates = [initial_weights(spec, seed) for seed in range(3)]
    x, y = digits.x_test[:50], digits.y_test[:50]
    evaluator = TorchEvaluator(spec, updates, None, x, y, Utility.NEGATIVE_LOSS, 0, "cpu")
    value = evaluator.utilities(np.array([[True, False, True]]))[0]
    expected = -loss(spec, fedavg([updates[0], updates[2]]), x, y) * UTILITY_SCALE
    assert value == pytest.approx(expected, abs=2e-6 * UTILITY_SCALE)


def test_accuracy_is_floored_by_integers() -> None:
    spec = preset("softmax", (1,), 2)
    model = {"0.weight": torch.tensor([[-1.0], [1.0]]), "0.bias": torch.zeros(2)}
    x, y = torch.tensor([[1.0], [1.0], [1.0]]), torch.tensor([1, 1, 0])
    evaluator = TorchEvaluator(spec, [model], None, x, y, Utility.ACCURACY, 0, "cpu")
    assert evaluator.utilities(np.array([[True]])).tolist() == [666_666_666]


def test_ties_are_wrong_for_coalitions_too() -> None:
    spec = preset("softmax", (1,), 2)
    zero = {"0.weight": torch.zeros(2, 1), "0.bias": torch.zeros(2)}
    x, y = torch.ones(4, 1), torch.tensor([0, 0, 1, 1])
    evaluator = TorchEvaluator(spec, [zero], None, x, y, Utility.ACCURACY, 7, "cpu")
    assert evaluator.utilities(np.array([[True], [False]])).tolist() == [0, 7]


@pytest.mark.parametrize("utility", list(Utility))
def test_hostile_finite_update_does_not_touch_coalitions_without_it(trained: Any, utility: Utility) -> None:
    # 3e38 is finite, but overflows in the forward pass: 0 · inf would be NaN in every coalition.
    hostile = {name: torch.full_like(value, 3e38) for name, value in trained.updates[0].items()}
    evaluator = TorchEvaluator(
        trained.spec, [hostile, *trained.updates[1:]], None, trained.x, trained.y, utility, 0, "cpu"
    )
    without = ~ALL[:, 0] & ALL.any(axis=1)
    clean = evaluator_of(trained, None, utility).utilities(ALL[without])
    tolerance = -(-UTILITY_SCALE // len(trained.y)) if utility == Utility.ACCURACY else 2e-6 * UTILITY_SCALE
    assert np.abs(evaluator.utilities(ALL[without]) - clean).max() <= tolerance
    alone = int(evaluator.utilities(np.eye(4, dtype=bool)[:1])[0])
    assert alone == (0 if utility == Utility.ACCURACY else -100 * UTILITY_SCALE)


def test_equal_rows_and_no_rows(trained_softmax: Any) -> None:
    evaluator = evaluator_of(trained_softmax)
    rows = ALL[[5, 3, 5, 0, 3, 0]]
    values = evaluator.utilities(rows)
    assert values[0] == values[2]
    assert values[1] == values[4]
    assert values[3] == values[5] == EMPTY_VALUE
    assert evaluator.utilities(ALL[:0]).shape == (0,)
    assert evaluator.utilities(ALL[:1]).tolist() == [EMPTY_VALUE]


def test_alg1_lines_6_to_9_marginals_against_the_lines_themselves(trained_softmax: Any) -> None:
    evaluator = evaluator_of(trained_softmax, empty=0)
    value = {row.tobytes(): int(v) for row, v in zip(ALL, evaluator.utilities(ALL), strict=True)}
    orders = np.array([[2, 0, 3, 1], [0, 1, 2, 3]])
    expected = np.zeros((2, 4), dtype=np.int64)
    for row, order in enumerate(orders):
        for i in range(4):
            prefix = np.isin(np.arange(4), order[: i + 1])
            # Line 8 and line 9: the value of R(1:i) less what the ones before were given.
            expected[row, order[i]] = value[prefix.tobytes()] - sum(expected[row, order[j]] for j in range(i))
    assert marginals(evaluator, orders).tolist() == expected.tolist()


def test_marginals_telescope_to_v_all_minus_v_empty(trained: Any) -> None:
    evaluator = evaluator_of(trained)
    rng = np.random.default_rng(0)
    rows = marginals(evaluator, np.stack([rng.permutation(4) for _ in range(5)])).sum(axis=1)
    total = evaluator.utilities(np.ones((1, 4), dtype=bool))[0] - EMPTY_VALUE
    assert len(set(rows.tolist())) == 1
    assert abs(int(rows[0]) - int(total)) <= -(-UTILITY_SCALE // len(trained.y))


def test_mean_over_all_permutations_is_the_exact_shapley_value(trained_softmax: Any) -> None:
    evaluator = evaluator_of(trained_softmax)
    values = {row.tobytes(): int(v) for row, v in zip(ALL, evaluator.utilities(ALL), strict=True)}
    exact = np.zeros(4, dtype=np.int64)
    for row in ALL:
        size = int(row.sum())
        for k in np.flatnonzero(~row):
            joined = row.copy()
            joined[k] = True
            # 4! times the weight |C|!·(K−|C|−1)!/K!, so that everything stays an integer.
            weight = factorial(size) * factorial(3 - size)
            exact[k] += weight * (values[joined.tobytes()] - values[row.tobytes()])
    every = np.array(list(permutations(range(4))))
    assert marginals(evaluator, every).sum(axis=0).tolist() == exact.tolist()


@pytest.mark.parametrize("rows", [ALL.astype(int), ALL[:, :3], ALL[0]])
def test_rows_that_are_no_coalitions_are_refused(trained_softmax: Any, rows: np.ndarray) -> None:
    with pytest.raises(CoalitionsMalformed):
        evaluator_of(trained_softmax).utilities(rows)


def blobs(trained: Any) -> dict:
    return {
        "spec": trained.spec,
        "base": encode(trained.base),
        "updates": [encode(update) for update in trained.updates],
        "samples": trained.samples,
        "evaluation_set": encode_evaluation_set(trained.x, trained.y),
        "aggregation": Aggregation.WEIGHTED,
        "utility": Utility.ACCURACY,
        "baseline": Baseline.STARTING_MODEL,
        "device": "cpu",
    }


def test_evaluator_from_blobs(trained: Any) -> None:
    start = starting_value(trained.spec, trained.base, trained.x, trained.y, Utility.ACCURACY, "cpu")
    right = round(accuracy(trained.spec, trained.base, trained.x, trained.y) * len(trained.y))
    assert start == right * UTILITY_SCALE // len(trained.y)
    opened = open_evaluator(**blobs(trained))
    direct = evaluator_of(trained, trained.samples, empty=start)
    assert opened.utilities(ALL).tolist() == direct.utilities(ALL).tolist()
    plain = open_evaluator(**blobs(trained) | {"aggregation": Aggregation.UNWEIGHTED, "baseline": Baseline.ZERO})
    assert plain.utilities(ALL).tolist() == evaluator_of(trained, empty=0).utilities(ALL).tolist()


def test_the_starting_model_is_evaluated_within_the_same_limits(
    trained_softmax: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def seen(game: Game) -> Engine:
        opened.append((game.clients, game.memory_limit, game.threads))
        return open_engine(game)

    monkeypatch.setattr("fedcoin.learning.evaluator.open_engine", seen)
    open_evaluator(**blobs(trained_softmax), memory_limit_bytes=99 << 20, threads=3)
    assert opened == [(1, 99 << 20, 3), (4, 99 << 20, 3)]


def test_bad_blobs_are_refused(trained_softmax: Any) -> None:
    good = blobs(trained_softmax)
    nan = {name: np.full(value.shape, np.nan, np.float32) for name, value in trained_softmax.base.items()}
    with pytest.raises(UpdateMalformed):
        open_evaluator(**good | {"updates": [*good["updates"][:3], b"\x80\x04K\x01."]})
    with pytest.raises(UpdateNotFinite):
        open_evaluator(**good | {"base": write_tensors(nan)})
    with pytest.raises(AggregationImpossible):
        open_evaluator(**good | {"samples": [1, 2, 3]})
    with pytest.raises(AggregationImpossible):
        open_evaluator(**good | {"samples": [0, 1, 2, 3]})
    with pytest.raises(AggregationImpossible):
        open_evaluator(**good | {"samples": [], "updates": []})


def test_misfits_are_refused(trained_softmax: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, updates, x, y = trained_softmax.spec, trained_softmax.updates, trained_softmax.x, trained_softmax.y
    with pytest.raises(SamplesDoNotFit):
        TorchEvaluator(spec, updates, None, x[:3], y, Utility.ACCURACY, 0, "cpu")
    with pytest.raises(AggregationImpossible):
        TorchEvaluator(spec, [{"0.weight": updates[0]["0.weight"]}], None, x, y, Utility.ACCURACY, 0, "cpu")
    monkeypatch.setattr("fedcoin.learning.evaluator.MAX_STACKED_BYTES", 1000)
    with pytest.raises(EvaluationTooLarge):
        TorchEvaluator(spec, updates, None, x, y, Utility.ACCURACY, 0, "cpu")


def test_bad_input_is_refused_by_name(trained_softmax: Any) -> None:
    good: dict[str, Any] = {
        "spec": trained_softmax.spec,
        "updates": trained_softmax.updates,
        "samples": None,
        "x": trained_softmax.x,
        "y": trained_softmax.y,
        "utility": Utility.ACCURACY,
        "empty_value": 0,
        "device": "cpu",
    }
    other = preset("softmax", trained_softmax.spec.input_shape, 11)
    for change, error in (
        ({"updates": []}, AggregationImpossible),
        ({"spec": other}, AggregationImpossible),
        ({"y": trained_softmax.y + 9}, SamplesDoNotFit),
        ({"x": trained_softmax.x[:0], "y": trained_softmax.y[:0]}, SamplesDoNotFit),
        ({"memory_limit_bytes": 100}, MemoryTooSmall),
        ({"memory_limit_bytes": 0}, MemoryTooSmall),
        ({"device": "cuda:99"}, DeviceUnavailable),
        ({"device": "abacus"}, DeviceUnavailable),
    ):
        with pytest.raises(error):
            TorchEvaluator(**good | change)


@pytest.mark.parametrize("utility", list(Utility))
def test_one_client_and_one_sample(trained: Any, utility: Utility) -> None:
    evaluator = TorchEvaluator(
        trained.spec, trained.updates[:1], [5], trained.x[:1], trained.y[:1], utility, EMPTY_VALUE, "cpu"
    )
    value = int(evaluator.values(walks_of(1, [[0]]))[0])
    if utility == Utility.ACCURACY:
        assert value == round(accuracy(trained.spec, trained.updates[0], trained.x[:1], trained.y[:1])) * UTILITY_SCALE
    else:
        expected = -loss(trained.spec, trained.updates[0], trained.x[:1], trained.y[:1]) * UTILITY_SCALE
        assert value == pytest.approx(expected, rel=1e-5)


def test_default_memory_is_bounded_and_torch_keeps_its_threads(trained: Any) -> None:
    assert 64 << 20 <= default_memory_limit(torch.device("cpu")) <= CPU_MEMORY
    before = torch.get_num_threads()
    evaluator_of(trained).utilities(ALL)
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(trained: Any) -> None:
    on_cpu = evaluator_of(trained, None, Utility.NEGATIVE_LOSS).utilities(ALL)
    on_cuda = TorchEvaluator(
        trained.spec, trained.updates, None, trained.x, trained.y, Utility.NEGATIVE_LOSS, EMPTY_VALUE, "cuda"
    ).utilities(ALL)
    assert np.abs(on_cpu - on_cuda).max() <= 1e-5 * UTILITY_SCALE
