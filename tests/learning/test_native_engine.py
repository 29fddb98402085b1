"""The compiled engine against one coalition at a time (FedAvg, build, forward pass), in every shape it serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from platform import machine
from typing import Any

import numpy as np
import pytest
import torch

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.task import Utility
from fedcoin.learning.choice import open_engine
from fedcoin.learning.engine import EngineDoesNotFit
from fedcoin.learning.evaluation_set import MAX_FEATURE
from fedcoin.learning.fedavg import fedavg
from fedcoin.learning.game import Game
from fedcoin.learning.models import Weights, build, load_weights, tensor_shapes
from fedcoin.learning.native import NativeEngine, load_library
from fedcoin.learning.native.engine import _MOST_SAMPLES, LOSS_UNIT
from fedcoin.learning.native.layout import LEAST_BLOCK, layout_of
from fedcoin.learning.native.library import Variant
from fedcoin.learning.scoring import count_correct, sum_loss
from fedcoin.learning.weights import MAX_PARAMETER
from fedcoin.shapley.walks import Walks, walks_of, walks_of_permutations

LIBRARY = load_library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the native library is not built here")
VARIANTS = [variant for variant in Variant if LIBRARY is not None and variant <= LIBRARY.variant]
LINEAR, RELU, TANH = LayerKind.LINEAR, LayerKind.RELU, LayerKind.TANH
BOTH = list(Utility)


def model(inputs: int, classes: int, *layers: int | LayerKind) -> ModelSpec:
    """Layers by their width (LINEAR) or kind, with the last one added."""
    steps = [Layer(LINEAR, size) if not isinstance(size, LayerKind) else Layer(size) for size in layers]
    return ModelSpec(ModelFamily.LAYERS, "test", (inputs,), classes, (*steps, Layer(LINEAR, classes)))


def game_of(
    spec: ModelSpec,
    clients: int = 4,
    samples: int = 70,
    utility: Utility = Utility.ACCURACY,
    counts: Sequence[int] | None = None,
    limit: int = 1 << 28,
    threads: int = 1,
) -> Game:
    """Random updates that disagree, so that logits are spread and the coalitions differ."""
    generator = torch.Generator().manual_seed(17 * clients + samples)
    size = sum(int(np.prod(shape)) for shape in tensor_shapes(spec).values())
    stack = torch.randn(clients, size, generator=generator) * 0.4
    x = torch.randn(samples, *spec.input_shape, generator=generator)
    y = torch.randint(0, spec.classes, (samples,), generator=generator)
    weights = np.ones(clients) if counts is None else np.array(counts, dtype=np.float64)
    return Game(spec, stack, weights, x, y, utility, torch.device("cpu"), limit, threads)


def weights_of(game: Game, client: int) -> Weights:
    found, at = {}, 0
    for name, shape in tensor_shapes(game.spec).items():
        size = int(np.prod(shape))
        found[name] = game.stack[client, at : at + size].reshape(shape)
        at += size
    return found


def naive(game: Game, walks: Walks) -> np.ndarray:
    """Alg. 1 line 8 as written, one coalition at a time."""
    scores = []
    module = build(game.spec)
    for row in walks.coalitions():
        members = np.flatnonzero(row)
        load_weights(
            module, fedavg([weights_of(game, int(k)) for k in members], [int(count) for count in game.counts[members]])
        )
        with torch.no_grad():
            logits = module(game.x).T.contiguous()
        accurate = game.utility == Utility.ACCURACY
        scores.append((count_correct if accurate else sum_loss)(logits, game.y).item())
    return np.array(scores)


def permutations(clients: int, count: int = 3) -> Walks:
    rng = np.random.default_rng(clients)
    return walks_of_permutations(np.stack([rng.permutation(clients) for _ in range(count)]))


def assert_agrees(game: Game, walks: Walks, variant: Variant | None = None) -> None:
    found, expected = NativeEngine(game, variant).scores(walks), naive(game, walks)
    if game.utility == Utility.ACCURACY:
        assert found.dtype == np.int64
        # Float sums in another order may turn a sample that lies on the border.
        assert np.abs(found - expected).max() <= 1
        assert (found != expected).mean() <= 0.05
    else:
        assert found.dtype == np.float64
        assert found == pytest.approx(expected, rel=2e-5, abs=1e-5)


SHAPES = {
    "softmax": model(7, 3),
    "softmax-2-classes": model(1, 2),
    "softmax-many-classes": model(5, 131),
    "mlp-1": model(6, 3, 1, RELU),
    "mlp-5": model(6, 2, 5, RELU),
    "mlp-16": model(17, 10, 16, RELU),
    "mlp-130-11": model(9, 11, 130, RELU),
    "mlp-33-25": model(9, 25, 33, RELU),
    "tanh": model(6, 3, 5, TANH),
    "deep": model(11, 10, 40, RELU, 13, TANH, 7, RELU),
    "no activation": model(11, 4, 9, 6),
    "two activations": model(11, 4, 9, TANH, RELU),
    "relu twice": model(11, 4, 9, RELU, RELU, 5),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("utility", BOTH)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_prefix_scores_as_its_fedavg_model(shape: str, utility: Utility, variant: Variant) -> None:
    game = game_of(SHAPES[shape], clients=5, samples=333, utility=utility, counts=[3, 1, 20, 8, 5])
    assert_agrees(game, permutations(5), variant)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("samples", [1, 31, 32, 33, 300])
def test_every_number_of_samples(samples: int, variant: Variant) -> None:
    for spec in (SHAPES["mlp-5"], SHAPES["deep"], SHAPES["softmax"]):
        for utility in BOTH:
            assert_agrees(game_of(spec, samples=samples, utility=utility), permutations(4), variant)


@pytest.mark.parametrize("utility", BOTH)
def test_one_client(utility: Utility) -> None:
    for spec in SHAPES.values():
        assert_agrees(game_of(spec, clients=1, utility=utility, counts=[9]), permutations(1))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", ["mlp-16", "deep", "softmax", "mlp-130-11"])
def test_steps_without_marks_empty_walks_and_walks_that_stop_early(shape: str, variant: Variant) -> None:
    orders: list[list[int]] = [[3, 0, 5, 2, 1, 4], [], [4, 1, 2], [2], [5, 4, 3, 2, 1, 0], [1, 2]]
    marks = [[False, False, True, True, False, False], [], [True, False, True], [True], [False] * 6, [False, True]]
    walks = walks_of(6, orders, marks)
    game = game_of(SHAPES[shape], clients=6)
    assert_agrees(game, walks, variant)
    whole = NativeEngine(game, variant).scores(walks_of(6, orders))
    assert NativeEngine(game, variant).scores(walks).tolist() == whole[walks.marks].tolist()
    assert NativeEngine(game, variant).scores(walks_of(6, [])).tolist() == []
    assert NativeEngine(game, variant).scores(walks_of(6, [[]])).tolist() == []


@pytest.mark.parametrize("utility", BOTH)
def test_scores_do_not_depend_on_the_other_walks_threads_or_memory(utility: Utility) -> None:
    for shape in ("mlp-130-11", "deep", "softmax-many-classes"):
        game = game_of(SHAPES[shape], clients=9, samples=1000, utility=utility)
        walks = permutations(9, 7)
        one = NativeEngine(game)
        expected = one.scores(walks)
        assert one.cached_blocks == one.blocks > 1
        alone = [one.scores(walks.part(number, number + 1)) for number in (6, 0, 3)]
        assert np.concatenate(alone).tolist() == expected.reshape(7, 9)[[6, 0, 3]].ravel().tolist()
        for threads in (2, 3):
            assert NativeEngine(replace(game, threads=threads)).scores(walks).tolist() == expected.tolist()
        served, cached = 0, set()
        for limit in np.geomspace(5e4, 2e7, 20).astype(int).tolist():
            try:
                small = NativeEngine(replace(game, memory_limit=limit, threads=2))
            except MemoryTooSmall:
                assert not served, "more memory serves whatever less memory serves"
                continue
            served += 1
            cached.add(small.cached_blocks)
            assert small.scores(walks).tolist() == expected.tolist()
        assert min(cached) == 0
        assert max(cached) == one.blocks


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_blocks_of_one_label_each(classes: int, variant: Variant) -> None:
    spec = model(6, classes, 13, RELU)
    game = game_of(spec, clients=3, samples=320 * classes + 7, counts=[2, 1, 5])
    walks = permutations(3, 2)
    assert layout_of(game).relative
    assert not layout_of(replace(game, utility=Utility.NEGATIVE_LOSS)).relative
    assert_agrees(game, walks, variant)
    # A label that no sample has, and one that all have.
    for y in (game.y.clamp(min=1), torch.zeros_like(game.y)):
        assert_agrees(replace(game, y=y), walks, variant)
    tight = layout_of(game).packed_bytes() + layout_of(game).thread_bytes(LEAST_BLOCK)
    small = NativeEngine(replace(game, memory_limit=tight, threads=2), variant)
    assert small.cached_blocks == 0
    assert small.scores(walks).tolist() == NativeEngine(game, variant).scores(walks).tolist()
    level = replace(game, stack=torch.zeros_like(game.stack))
    assert NativeEngine(level, variant).scores(walks).max() == 0


def test_few_samples_and_many_walks_are_divided_by_walks() -> None:
    game = game_of(SHAPES["mlp-16"], clients=6, samples=20)
    walks = permutations(6, 40)
    assert NativeEngine(replace(game, threads=3)).scores(walks).tolist() == NativeEngine(game).scores(walks).tolist()


def test_a_sum_of_counts_is_no_limit() -> None:
    game = game_of(SHAPES["mlp-16"], counts=[1, 2**31, 5, 10**6])
    assert_agrees(game, permutations(4))


def test_counts_that_differ_beyond_measure_are_left_to_exact_means() -> None:
    game = game_of(SHAPES["mlp-16"], counts=[1, 2**63, 2**63, 5])
    with pytest.raises(EngineDoesNotFit):
        NativeEngine(game)
    walks = walks_of(4, [[0], [3, 0]])
    assert open_engine(game).scores(walks) == pytest.approx(naive(game, walks), abs=1)


def test_ties_are_wrong() -> None:
    for spec in (SHAPES["softmax"], SHAPES["mlp-16"], SHAPES["deep"]):
        game = game_of(spec)
        level = replace(game, stack=torch.zeros_like(game.stack))
        assert NativeEngine(level).scores(permutations(4)).max() == 0


def test_overflow_and_nan_inside_deep_networks_are_wrong_answers_and_the_highest_loss() -> None:
    spec = model(3, 4, *[5] * 11)
    for utility, expected in ((Utility.ACCURACY, 0), (Utility.NEGATIVE_LOSS, 100.0 * 40)):
        game = game_of(spec, clients=2, samples=40, utility=utility)
        huge = replace(game, stack=torch.sign(game.stack) * MAX_PARAMETER)
        assert NativeEngine(huge).scores(walks_of(2, [[0], [1, 0]])).tolist() == [expected] * 3


@pytest.mark.parametrize("utility", BOTH)
@pytest.mark.parametrize("size", [1.1e4, 1e16, 3e38])
def test_updates_that_could_overflow_sums_leave_other_coalitions_alone(utility: Utility, size: float) -> None:
    game = game_of(SHAPES["mlp-16"], utility=utility)
    hostile = game.stack.clone()
    hostile[2] = torch.sign(hostile[2]) * size
    walks = walks_of(4, [[0, 1, 3, 2], [3, 2], [2, 0]])
    clean, found = (open_engine(replace(game, stack=stack)).scores(walks) for stack in (game.stack, hostile))
    without = [0, 1, 2, 4]  # the marks of coalitions that client 2 is not in
    assert found[without] == pytest.approx(clean[without], rel=1e-5, abs=1 if utility == Utility.ACCURACY else 1e-4)
    assert found == pytest.approx(naive(replace(game, stack=hostile), walks), rel=1e-5, abs=1e-4)


def test_numbers_up_to_what_updates_and_evaluation_sets_may_hold_are_served_and_no_larger_ones() -> None:
    game = game_of(SHAPES["mlp-16"])
    for name, most in (("stack", MAX_PARAMETER), ("x", MAX_FEATURE)):
        for sign in (1, -1):
            values = getattr(game, name).clone()
            values[1, 2] = sign * most
            assert_agrees(replace(game, **{name: values}), permutations(4))
            for worse in (sign * most * 1.001, sign * torch.inf, torch.nan):
                values[1, 2] = worse
                with pytest.raises(EngineDoesNotFit):
                    NativeEngine(replace(game, **{name: values}))


def test_a_bias_that_all_classes_share_is_judged_as_in_the_average() -> None:
    # In differences of logits it is gone, though float32 logits lose their digits to it.
    game = game_of(model(6, 3, 13, RELU), samples=1000)
    assert layout_of(game).relative
    for offset in (1e9, 1e12):
        stack = game.stack.clone()
        stack[0, -3:] += offset
        walks = walks_of(4, [[0, 1, 2, 3], [3, 0, 1], [2, 1]])
        huge = replace(game, stack=stack)
        assert open_engine(huge).scores(walks).tolist() == naive(huge, walks).tolist()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("utility", BOTH)
def test_updates_that_cancel_each_other_leave_little_behind(utility: Utility, variant: Variant) -> None:
    game = game_of(model(50, 3, 16, RELU), samples=1000, utility=utility)
    stack = game.stack.clone()
    push = MAX_PARAMETER * 0.99 * torch.sign(torch.randn(50 * 16, generator=torch.Generator().manual_seed(1)))
    stack[0, : 50 * 16] += push
    stack[1, : 50 * 16] -= push
    hostile = replace(game, stack=stack)
    walks = walks_of(4, [[2, 0, 1, 3], [0, 3, 2, 1]])
    found, expected = NativeEngine(hostile, variant).scores(walks), naive(hostile, walks)
    assert found == pytest.approx(expected, abs=2 if utility == Utility.ACCURACY else 0.1, rel=1e-4)


@pytest.mark.skipif(machine().lower() not in {"x86_64", "amd64", "aarch64", "arm64"}, reason="not known how there")
@pytest.mark.parametrize("variant", VARIANTS)
def test_sums_below_the_smallest_normal_float_are_zero_and_torch_still_has_them(variant: Variant) -> None:
    game = game_of(model(4, 3, 8, RELU), clients=1)
    stack = torch.zeros_like(game.stack)
    stack[0, :32], stack[0, 40:64] = 2.0**-70, game.stack[0, 40:64] * 1e4  # both layers' weights
    tiny = replace(game, stack=stack, x=game.x * 2.0**-60)
    engine = NativeEngine(tiny, variant)
    assert naive(tiny, walks_of(1, [[0]])).max() > 0, "logits that differ, from sums that are not normal"
    assert engine.scores(walks_of(1, [[0]])).tolist() == [0]
    engine._library.prepare(engine._struct, variant, (0, 1), engine._sums)
    assert float(torch.tensor(1e-30) * torch.tensor(1e-12)) > 0, "this thread's mode is as before"


def test_the_sum_of_losses_of_as_many_samples_as_are_served_fits() -> None:
    assert _MOST_SAMPLES * 100 / LOSS_UNIT < 2**63
    game = game_of(SHAPES["softmax"], samples=40, utility=Utility.NEGATIVE_LOSS)
    many = replace(game, y=game.y[:1].expand(_MOST_SAMPLES + 1))
    with pytest.raises(EngineDoesNotFit, match="samples"):
        NativeEngine(many)


@pytest.mark.parametrize(
    ("spec", "clients"),
    [(model(8, 10, 1024, RELU, 1024, RELU), 150), (model(2, 10, 40_000, RELU), 200), (model(2, 30_000), 700)],
)
def test_games_that_need_much_memory_whatever_is_allowed_go_to_other_engines(spec: ModelSpec, clients: int) -> None:
    size = sum(int(np.prod(shape)) for shape in tensor_shapes(spec).values())
    game = replace(game_of(spec, clients=1), stack=torch.zeros(1).expand(clients, size), counts=np.ones(clients))
    for limit in (1 << 20, 1 << 40):
        with pytest.raises(EngineDoesNotFit, match=r"take \d+ bytes"):
            NativeEngine(replace(game, memory_limit=limit))


def test_games_that_need_little_memory_say_how_much_they_need() -> None:
    game = game_of(model(20, 10, 512, RELU, 512, RELU))
    with pytest.raises(MemoryTooSmall, match=r"need \d+ bytes"):
        NativeEngine(replace(game, memory_limit=1 << 20))


def test_what_it_does_not_serve() -> None:
    convolution = ModelSpec(
        ModelFamily.LAYERS,
        "cnn",
        (1, 8, 8),
        3,
        (Layer(LayerKind.CONV2D, 2, kernel=3, stride=1), Layer(RELU), Layer(LINEAR, 3)),
    )
    early = ModelSpec(ModelFamily.LAYERS, "early", (4,), 3, (Layer(TANH), Layer(LINEAR, 3)))
    for spec in (convolution, early):
        with pytest.raises(EngineDoesNotFit):
            NativeEngine(game_of(spec))
    with pytest.raises(EngineDoesNotFit):
        NativeEngine(replace(game_of(SHAPES["softmax"]), device=torch.device("meta")))


def test_without_the_library_torch_gives_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = permutations(6)
    for shape in ("mlp-16", "softmax", "tanh", "deep"):
        for utility in BOTH:
            game = game_of(SHAPES[shape], clients=6, samples=500, utility=utility, counts=[4, 2, 9, 9, 1, 3])
            native = open_engine(game)
            assert native.name.startswith("native-")
            with monkeypatch.context() as patch:
                patch.setattr("fedcoin.learning.native.engine.load_library", lambda: None)
                other = open_engine(game)
            assert not other.name.startswith("native-")
            tolerance: dict[str, Any] = {"abs": 1} if utility == Utility.ACCURACY else {"rel": 2e-5}
            assert other.scores(walks) == pytest.approx(native.scores(walks), **tolerance)
