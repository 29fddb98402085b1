"""The CUDA kernel for multilayer perceptrons with one hidden layer and accuracy, in Triton.

One program takes a tile of samples along a whole walk: the running sums of the hidden layer stay in registers, a step
reads the newcomer's pre-activations of the tile, and a mark applies ReLU, multiplies with the mean weights of the
second layer in full float32 (input_precision "ieee": no TF32), and counts right answers by the rule of `scoring`.
Programs that run at the same time take different walks over the same tiles, so that most reads end in the L2 cache.
How many samples and warps a program has follows from the model's shape, so that counts are the same in every process.

An estimate, not a measurement (no GPU was at hand): K=100, 784-128-10, 10,000 images, an iteration of 100 marks. Bytes:
512 MB of pre-activations and 126 MB of weights (8 KB a tile and mark) from L2; at 5.5 TB/s 0.12 ms. Operations: the
second layer padded to 16 classes is 2.05 G multiply-adds, 0.06 ms at 67 TFLOP/s. Compiled for sm_90 with 64 samples and
8 warps, a mark issues about 1,130 instructions a warp (512 FFMA, 203 LDS; no spills), 9,000 for 64
samples: 2,260 cycles of an SM at 4 a cycle, 0.15 ms an iteration on 132 SMs at 1.75 GHz. Stalls may double or triple
that: 2,000 to 6,000 iterations a second. Launches: a dozen for a batch of up to 163 such iterations.

Importing this module needs the package triton, which torch's Linux wheels bring.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl
from torch import Tensor

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.core.model import LayerKind, ModelFamily
from fedcoin.core.task import Utility
from fedcoin.learning.architecture import trace_layers
from fedcoin.learning.engine import EngineDoesNotFit
from fedcoin.learning.game import Game
from fedcoin.learning.prefix_means import Prefixes, PrefixMeans, batches, padded_width, shares_of, temporary_bytes
from fedcoin.shapley.walks import Walks

_MOST_FEATURES, _MOST_CLASSES = 256, 64
"""Sums and products of a tile must stay in registers."""
_LARGEST_TILE = 128
_WARPS = 8
_MOST_COALITIONS = 1 << 14
"""Of one launch."""


class TritonWalks:
    """Engine for LINEAR, RELU, LINEAR and accuracy on CUDA."""

    def __init__(self, game: Game, tile: int | None = None, warps: int = _WARPS) -> None:
        """`tile` samples (by default `tile_of`) and `warps` warps a program: they change the speed, and nothing else
        but rounding.

        Raises EngineDoesNotFit for another game or too little memory for all clients' pre-activations.
        """
        kinds = [layer.kind for layer in game.spec.layers]
        if game.spec.family != ModelFamily.LAYERS or kinds != [LayerKind.LINEAR, LayerKind.RELU, LayerKind.LINEAR]:
            raise EngineDoesNotFit("only for one hidden layer with ReLU")
        if game.utility != Utility.ACCURACY:
            raise EngineDoesNotFit("only for accuracy")
        if game.device.type != "cuda" and not triton.knobs.runtime.interpret:
            raise EngineDoesNotFit("only on CUDA")
        self._game, self._warps = game, warps
        self._first, _, self._second = trace_layers(game.spec)
        hidden = self._first.output_shape[0]
        if hidden > _MOST_FEATURES or game.spec.classes > _MOST_CLASSES:
            raise EngineDoesNotFit(f"{hidden} hidden units and {game.spec.classes} classes are too many")
        self._features = max(16, triton.next_power_of_2(hidden))
        self._width = max(16, triton.next_power_of_2(game.spec.classes))
        self._tile = tile if tile is not None else tile_of(self._features, self._width)
        self._padded = -(-game.samples // _LARGEST_TILE) * _LARGEST_TILE
        cached = 4 * game.clients * self._padded * self._features
        inputs = 4 * (game.x.numel() + 2 * self._first.parameters + game.clients * padded_width([self._second]))
        # A row of the second layer's means, and its copy with samples' features and classes padded.
        self._row = 4 * (padded_width([self._second]) + self._features * self._width + self._width) + 32
        self._room = game.memory_limit - cached - inputs - temporary_bytes(game.device)
        if self._room < 1024 * self._row or self._padded * self._features >= 2**31:
            raise EngineDoesNotFit("the clients' pre-activations do not fit in memory")
        self._most = _MOST_COALITIONS
        self._prepare()

    @property
    def name(self) -> str:
        """`triton-`, samples of a tile, warps."""
        return f"triton-{self._tile}x{self._warps}"

    def scores(self, walks: Walks) -> npt.NDArray[np.int64]:
        """See Engine. Raises MemoryTooSmall if CUDA runs out of memory whatever is tried."""
        while True:
            try:
                with torch.no_grad():
                    todo = batches(walks, min(self._most, self._room // self._row))
                    # Everything is on its way before the first result is waited for.
                    counts = [self._launch(prefixes) for prefixes in todo]
                    return np.concatenate([np.zeros(0, np.int64), *(count.cpu().numpy() for count in counts)])
            except torch.OutOfMemoryError as error:
                if self._most <= 64:
                    raise MemoryTooSmall(f"the device has too little memory for {self._most} coalitions") from error
                self._most //= 2
                torch.cuda.empty_cache()

    def _prepare(self) -> None:
        """The clients' pre-activations times their shares, [K, padded samples, padded features]."""
        game, device = self._game, self._game.device
        assert self._first.weight is not None
        hidden, inputs = self._first.weight
        shares, samples = shares_of(game.counts), game.samples
        x = game.x.to(device).flatten(1)
        self._sums = torch.zeros((game.clients, self._padded, self._features), device=device)
        for row, share, target in zip(game.stack, shares.tolist(), self._sums, strict=True):
            # The share comes first: a product with the weights themselves could overflow where no average does.
            first = row[: self._first.parameters].to(device) * share
            weight, bias = first[: hidden * inputs].view(hidden, inputs), first[hidden * inputs :]
            target[:samples, :hidden] = torch.addmm(bias, x, weight.T)
        self._labels = game.y.to(device, torch.int32)
        self._means = PrefixMeans([self._second], game.stack[:, self._first.parameters :], shares, device)

    def _launch(self, prefixes: Prefixes) -> Tensor:
        """Right answers of each coalition, int64 on the device."""
        evaluations, device = prefixes.evaluations, self._game.device
        [(weight, bias)], _ = self._means.rows(prefixes, 1, [True])
        classes, hidden = weight.shape[1:]
        weights = torch.zeros((evaluations, self._features, self._width), device=device)
        weights[:, :hidden, :classes] = weight.transpose(1, 2)
        biases = torch.zeros((evaluations, self._width), device=device)
        biases[:, :classes] = bias
        lengths = np.array([len(members) for members in prefixes.members])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.concatenate([[0], np.cumsum([len(places) for places in prefixes.marks])])
        marks = np.zeros(starts[-1], dtype=np.int32)
        marked = [begin + np.array(places) for begin, places in zip(starts[:-1], prefixes.marks, strict=True)]
        marks[np.concatenate(marked)] = 1
        members = np.concatenate([np.array(walk, dtype=np.int32) for walk in prefixes.members])
        counts = torch.zeros(evaluations, dtype=torch.int32, device=device)
        walks = len(prefixes.members)
        # Triton launches on the current device, which need not be the game's.
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            _kernel[(walks * (self._padded // self._tile),)](
                self._sums,
                weights,
                biases,
                *(torch.from_numpy(a.astype(np.int32)).to(device) for a in (members, marks, starts, rows)),
                self._labels,
                counts,
                walks,
                self._game.samples,
                self._padded * self._features,
                TILE=self._tile,
                FEATURES=self._features,
                CLASSES=classes,
                WIDTH=self._width,
                num_warps=self._warps,
                enable_fp_fusion=True,
            )
        return counts.to(torch.int64)


def tile_of(features: int, classes: int) -> int:
    """Samples of a tile for this many features and classes, powers of two from 16 on.

    Compiled for sm_90 with 8 warps, none of these spills registers: 64 samples take at most 103, 32 at most 126. In
    tiles of 64, 64 features and classes would spill, and 256 features need more shared memory than many GPUs have.
    """
    return 64 if features <= 128 and classes <= 32 else 32


@triton.jit(do_not_specialize=["walks", "samples"])
def _kernel(
    sums_of_clients: tl.tensor,  # float32 [K, padded samples, FEATURES]
    weights: tl.tensor,  # float32 [coalitions, FEATURES, WIDTH]
    biases: tl.tensor,  # float32 [coalitions, WIDTH], times the coalition's share
    members: tl.tensor,  # int32 [steps]
    marks: tl.tensor,  # int32 [steps]
    starts: tl.tensor,  # int32 [walks + 1]: where a walk's steps begin
    rows: tl.tensor,  # int32 [walks + 1]: where a walk's coalitions begin
    labels: tl.tensor,  # int32 [samples]
    counts: tl.tensor,  # int32 [coalitions], zeros
    walks: tl.tensor,
    samples: tl.tensor,
    client_size: tl.tensor,  # padded samples · FEATURES
    TILE: tl.constexpr,  # noqa: N803  (Triton's constants)
    FEATURES: tl.constexpr,  # noqa: N803
    CLASSES: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803
) -> None:
    program = tl.program_id(0)
    walk = program % walks
    sample = program // walks * TILE + tl.arange(0, TILE)
    feature = tl.arange(0, FEATURES)
    category = tl.arange(0, WIDTH)
    label = tl.load(labels + sample, mask=sample < samples, other=-1)
    place = sample[:, None] * FEATURES + feature[None, :]
    sums = tl.zeros((TILE, FEATURES), dtype=tl.float32)
    row = tl.load(rows + walk)
    for step in range(tl.load(starts + walk), tl.load(starts + walk + 1)):
        member = tl.load(members + step).to(tl.int64)
        sums += tl.load(sums_of_clients + member * client_size + place)
        if tl.load(marks + step) != 0:
            hidden = tl.where(sums < 0.0, 0.0, sums)  # a NaN stays one, as in torch
            weight = tl.load(weights + row * (FEATURES * WIDTH) + feature[:, None] * WIDTH + category[None, :])
            logits = tl.dot(hidden, weight, input_precision="ieee")
            logits += tl.load(biases + row * WIDTH + category)[None, :]
            mine = category[None, :] == label[:, None]
            own = tl.sum(tl.where(mine, logits, 0.0), 1)
            # Right if every other logit is strictly below: a tie or a NaN is not.
            below = mine | (logits < own[:, None]) | (category >= CLASSES)[None, :]
            right = tl.min(below.to(tl.int32), 1)
            tl.atomic_add(counts + row, tl.sum(tl.where(sample < samples, right, 0)))
            row += 1
