"""Small games for tests of engines, and their scores one coalition at a time: FedAvg, load, forward pass, count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.task import Utility
from fedcoin.learning.fedavg import fedavg
from fedcoin.learning.game import Game
from fedcoin.learning.models import build, initial_weights, load_weights, preset, tensor_shapes
from fedcoin.learning.scoring import count_correct, sum_loss
from fedcoin.shapley.walks import Walks, walks_of

CLASSES = 4


def layered(shape: tuple[int, ...], *layers: Layer) -> ModelSpec:
    """A list of layers that ends in a LINEAR one for the classes."""
    return ModelSpec(ModelFamily.LAYERS, "test", shape, CLASSES, (*layers, Layer(LayerKind.LINEAR, CLASSES)))


RELU, TANH = Layer(LayerKind.RELU), Layer(LayerKind.TANH)

SPECS = {
    "softmax": preset("softmax", (12,), CLASSES),
    "mlp": preset("mlp-16", (12,), CLASSES),
    "mlp of odd widths on images": preset("mlp-13-7-5", (1, 3, 5), CLASSES),
    "tanh": layered((12,), Layer(LayerKind.LINEAR, 9), TANH, Layer(LayerKind.LINEAR, 6), RELU),
    "tanh after relu": layered((12,), Layer(LayerKind.LINEAR, 9), RELU, Layer(LayerKind.LINEAR, 6), TANH),
    "two linear layers": layered((12,), Layer(LayerKind.LINEAR, 9)),
    "cnn": preset("cnn", (1, 9, 8), CLASSES),
    "strides and padding": layered(
        (2, 11, 9),
        Layer(LayerKind.CONV2D, 3, kernel=4, stride=2, padding=3),
        TANH,
        Layer(LayerKind.CONV2D, 5, kernel=2, stride=1),
        RELU,
        Layer(LayerKind.MAX_POOL2D, kernel=3, stride=1),
        Layer(LayerKind.LINEAR, 7),
        RELU,
    ),
}
"""Architectures that running sums serve, by what is special about them."""

POOL_FIRST = layered(
    (2, 7, 6), Layer(LayerKind.MAX_POOL2D, kernel=2, stride=1), RELU, Layer(LayerKind.CONV2D, 3, kernel=3, stride=2)
)
"""An architecture that begins without parameters."""


def small_game(
    spec: ModelSpec,
    clients: int = 5,
    samples: int = 170,
    utility: Utility = Utility.ACCURACY,
    weighted: bool = False,
    limit: int = 1 << 30,
) -> Game:
    """Clients with random weights that disagree, on random samples: the same every time."""
    generator = torch.Generator().manual_seed(samples)
    x = torch.randn(samples, *spec.input_shape, generator=generator)
    y = torch.randint(0, spec.classes, (samples,), generator=generator)
    strength = 3.0 if spec.family == ModelFamily.LAYERS else 1.0
    rows = [torch.cat([v.reshape(-1) for v in initial_weights(spec, seed).values()]) for seed in range(clients)]
    counts = np.array([10 + 7 * k if weighted else 1 for k in range(clients)], dtype=np.float64)
    return Game(spec, strength * torch.stack(rows), counts, x, y, utility, torch.device("cpu"), limit, 1)


def with_limit(game: Game, limit: int) -> Game:
    """The same game with another memory limit."""
    return replace(game, memory_limit=limit)


def some_walks(clients: int, count: int = 6, seed: int = 0) -> Walks:
    """Walks through some of the clients, with some steps unmarked, one without any mark and one without steps."""
    random = np.random.default_rng(seed)
    orders = [random.permutation(clients)[: random.integers(1, clients + 1)].tolist() for _ in range(count)]
    marks = [(random.random(len(order)) < 0.7).tolist() for order in orders]
    marks[0][-1] = True
    everyone = list(range(clients))
    return walks_of(clients, [everyone, *orders, [], everyone], [[True] * clients, *marks, [], [False] * clients])


def naive_scores(game: Game, walks: Walks) -> npt.NDArray[np.float64]:
    """Right answers or summed losses of each marked coalition by Algorithm 1 as it is written."""
    module, shapes = build(game.spec), tensor_shapes(game.spec)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    updates = [
        {name: part.view(shape) for (name, shape), part in zip(shapes.items(), row.split(sizes), strict=True)}
        for row in game.stack
    ]
    scores = []
    with torch.no_grad():
        for coalition in walks.coalitions():
            members = np.flatnonzero(coalition)
            load_weights(module, fedavg([updates[k] for k in members], [int(game.counts[k]) for k in members]))
            score = count_correct if game.utility == Utility.ACCURACY else sum_loss
            scores.append(score(module(game.x).T.contiguous(), game.y).item())
    return np.array(scores, dtype=np.float64)


def assert_agrees(game: Game, scores: npt.NDArray[np.generic], expected: npt.NDArray[np.float64]) -> None:
    """The scores of an engine are of the right type, and as near as float sums in another order can be."""
    assert scores.dtype == (np.int64 if game.utility == Utility.ACCURACY else np.float64)
    assert scores.shape == expected.shape
    if game.utility == Utility.ACCURACY:
        assert np.abs(scores - expected).max() <= 1, "rounding may turn one sample that lies on the border"
        assert np.abs(scores - expected).mean() < 0.2
    else:
        np.testing.assert_allclose(scores, expected, rtol=2e-6)


def overflowing(game: Game, clients: Sequence[int], value: float) -> Game:
    """The same game with every parameter of some clients set to `value`."""
    stack = game.stack.clone()
    stack[list(clients)] = value
    return replace(game, stack=stack)


def large_weights(game: Game, value: float = 2e38) -> Game:
    """The same game with a first weight of the first client so large that its pre-activations overflow, but not those
    of an average of two or more."""
    stack = game.stack.clone()
    stack[0, 0] = value
    x = game.x.clone()
    x.flatten(1)[:, 0] = 2.5
    return replace(game, stack=stack, x=x)
