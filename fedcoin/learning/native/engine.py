"""The engine in C for multilayer perceptrons on the CPU.

FedAvg is linear, so the first layer of every coalition's model acts on the data as the mean of the clients' own
pre-activations, which are computed once. A step of a walk then costs an addition, the activation, and the small later
layers, whose parameters are running sums as well. See kernel_walks.h for the loops.

All sums have a fixed order within a sample, and scores are added as integers: neither the number of threads, nor the
memory limit, nor the other walks of a call change a bit of a score.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.core.task import Utility
from fedcoin.learning.engine import EngineDoesNotFit
from fedcoin.learning.game import Game
from fedcoin.learning.native.layout import (
    LEAST_BLOCK,
    Layout,
    aligned,
    layout_of,
    out_of_range,
    pack_later_layers,
    sort_by_label,
)
from fedcoin.learning.native.library import GameStruct, OpStruct, Variant, address, load_library
from fedcoin.shapley.walks import Walks

LOSS_UNIT = 2.0**-30
"""Of the losses that the kernel sums. A sample's is at most 100, so that sums of 80 million samples fit."""
_MOST_SAMPLES = 80_000_000
_MOST_FIXED_BYTES = 512 << 20
# What is taken besides cached blocks; games that need more are left to engines that keep less. It is well below the
# memory that is allowed by default, and the game alone decides, since values must not depend on the limit.
_PARTS_OF_A_THREAD = 4
# Pieces of work for each thread, so that one that is held up by other programs does not hold up all.


class NativeEngine:
    """Scores coalitions with the compiled kernel."""

    def __init__(self, game: Game, variant: Variant | None = None) -> None:
        """Prepare the pre-activations of as many blocks of samples as the game's memory limit allows.

        `variant` is an instruction set that the processor runs, by default its best. Raises EngineDoesNotFit without
        the library, off the CPU, for other layers, where numbers are so large that running sums could overflow or
        differ from the mean, and where packed parameters and one block take too much; MemoryTooSmall if they take
        little, but more than the game's limit.
        """
        library = load_library()
        if library is None:
            raise EngineDoesNotFit("the native library is not there")
        if game.device.type != "cpu":
            raise EngineDoesNotFit("the native library computes on the CPU")
        self._library = library
        self._variant = library.variant if variant is None else variant
        if self._variant > library.variant:
            raise EngineDoesNotFit(f"this processor does not run {self._variant.name}")
        self._layout = layout_of(game)
        if game.samples > _MOST_SAMPLES:
            raise EngineDoesNotFit(f"{game.samples} samples")
        if self._layout.least_bytes() > _MOST_FIXED_BYTES:
            raise EngineDoesNotFit(f"packed parameters and one block take {self._layout.least_bytes()} bytes")
        if out_of_range(game):
            raise EngineDoesNotFit("numbers so large that sums of them could overflow or lose digits")
        self._game = game
        self._threads, self._block, spare = _fit(game, self._layout)
        self._arrange()
        self._cache(spare)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="coalitions")

    @property
    def name(self) -> str:
        """`native-` and the instruction set."""
        return f"native-{self._variant.name.lower()}"

    @property
    def blocks(self) -> int:
        """Blocks of samples."""
        return len(self._labels) // self._block

    @property
    def cached_blocks(self) -> int:
        """Blocks whose pre-activations are kept; those of the others are computed again for each call."""
        return self._ready

    def scores(self, walks: Walks) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
        """See Engine. Raises MemoryTooSmall where the system has none left."""
        marks = np.concatenate([[0], np.cumsum(walks.marks)])[walks.starts]
        total = np.zeros(walks.evaluations, dtype=np.int64)

        def score(part: tuple[tuple[int, int], tuple[int, int]]) -> tuple[slice, npt.NDArray[np.int64]]:
            blocks, few = part
            found = self._library.run(self._struct, self._variant, blocks, self._sums, self._ready, walks, few)
            return slice(int(marks[few[0]]), int(marks[few[1]])), found

        for place, found in self._pool.map(score, self._parts(len(walks))):
            total[place] += found
        if self._game.utility == Utility.ACCURACY:
            return total
        return total.astype(np.float64) * LOSS_UNIT

    def _parts(self, walks: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Ranges of blocks and walks that together are all of them.

        Every range of blocks is gone through by all walks while it is in the cache; only where there are few blocks,
        walks are divided too.
        """
        wanted = self._threads * _PARTS_OF_A_THREAD if self._threads > 1 else 1
        blocks = _ranges(self.blocks, wanted)
        return list(product(blocks, _ranges(walks, -(-wanted // len(blocks)))))

    def _arrange(self) -> None:
        """Everything that the kernel reads, and the structure that says where it lies."""
        game, layout = self._game, self._layout
        self._counts = np.asarray(game.counts / game.counts.mean(), dtype=np.float32)
        self._stack = game.stack.contiguous().numpy()
        self._x = game.x.reshape(game.samples, -1).contiguous().numpy()
        self._later = pack_later_layers(game, layout, self._counts)
        self._order, self._labels = sort_by_label(game, layout, self._block)
        self._ops = (OpStruct * len(layout.ops))(
            *(OpStruct(op.kind, op.inputs, op.outputs, op.weights, op.biases) for op in layout.ops)
        )
        self._struct = GameStruct(
            clients=game.clients,
            inputs=layout.inputs,
            hidden=layout.hidden,
            outputs=layout.outputs,
            block=self._block,
            stack_row=self._stack.shape[1],
            later_row=layout.row,
            relative=game.clients * layout.row if layout.relative else 0,
            widest=layout.widest,
            loss=int(game.utility != Utility.ACCURACY),
            ops_count=len(layout.ops),
            ops=ctypes.cast(self._ops, ctypes.POINTER(OpStruct)),
            stack=address(self._stack),
            later=address(self._later),
            counts=address(self._counts),
            x=address(self._x),
            order=address(self._order),
            labels=address(self._labels),
        )

    def _cache(self, spare: int) -> None:
        """Compute the pre-activations of the first blocks, as many as `spare` bytes hold."""
        self._ready = min(self.blocks, spare // self._layout.block_bytes(self._block))
        self._sums = aligned((self._ready, self._game.clients, self._layout.hidden, self._block))
        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(
                lambda part: self._library.prepare(self._struct, self._variant, part, self._sums),
                _ranges(self._ready, self._threads * _PARTS_OF_A_THREAD),
            ):
                pass


def _fit(game: Game, layout: Layout) -> tuple[int, int, int]:
    """Threads, samples of a block, and bytes that remain for the cache. Raises MemoryTooSmall."""
    fixed = layout.packed_bytes()
    choices = [(threads, block) for block in (layout.block(), LEAST_BLOCK) for threads in range(game.threads, 0, -1)]
    for threads, block in choices:
        room = game.memory_limit - fixed - threads * layout.thread_bytes(block)
        if room >= 0:
            return threads, block, room
    raise MemoryTooSmall(
        f"coalitions of {game.clients} updates of {game.spec.name!r} need {layout.least_bytes()} bytes beside the "
        f"updates and the evaluation set, {game.memory_limit} are allowed: allow more"
    )


def _ranges(count: int, parts: int) -> list[tuple[int, int]]:
    """0 to `count` in at most `parts` ranges of nearly equal length, none empty."""
    parts = max(1, min(parts, count))
    return list(pairwise(count * part // parts for part in range(parts + 1)))
