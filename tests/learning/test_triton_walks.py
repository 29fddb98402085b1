"""The Triton kernel: its counts in Triton's interpreter, on a GPU where there is one, and that it compiles for one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedcoin.learning.running_sums import RunningSums
from tests.support.small_games import SPECS, small_game, some_walks

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs triton, which torch brings on Linux only"
)

ROOT = Path(__file__).parents[2]

INTERPRETED = """
import json, sys
import numpy as np, torch
from fedcoin.core.task import Utility
from fedcoin.learning.engine import EngineDoesNotFit
from fedcoin.learning.models import preset
from fedcoin.learning.running_sums import RunningSums
from fedcoin.learning.triton_walks import TritonWalks, tile_of
from tests.support.small_games import *

def refused(game):
    try:
        TritonWalks(game)
    except EngineDoesNotFit:
        return True
    return False

found = {}
games = {
    "mlp": small_game(SPECS["mlp"], samples=40),
    "weighted, odd widths, ten classes": small_game(preset("mlp-21", (1, 3, 5), 10), 3, 130, weighted=True),
    "one client and sample": small_game(SPECS["mlp"], 1, 1),
}
for name, game in games.items():
    walks = some_walks(game.clients, count=2)
    engine = TritonWalks(game, 32, 4)
    scores = engine.scores(walks)
    torch_scores = RunningSums(game).scores(walks)
    engine._room = 4 * engine._row  # batches of 4 coalitions
    small = engine.scores(walks)
    found[name] = {
        "dtype": str(scores.dtype), "name": engine.name, "scores": scores.tolist(), "small": small.tolist(),
        "torch": torch_scores.tolist(), "naive": naive_scores(game, walks).tolist(),
        "tiles": TritonWalks(game, 128, 8).scores(walks).tolist(),
    }
game = small_game(SPECS["mlp"], clients=4, samples=20)
order = walks_of(4, [[0, 1, 2, 3], [2, 0, 1]])
without = ~order.coalitions()[:, 2]
clean = TritonWalks(game).scores(order)
found["hostile"] = []
for value in (3e38, float("inf"), float("nan")):
    hostile = overflowing(game, [2], value)
    scores = TritonWalks(hostile).scores(order)
    found["hostile"].append([scores[without].tolist() == clean[without].tolist(), scores[~without].max().item()])
large = large_weights(game)
accompanied = walks_of(4, [[1, 0, 2, 3], [2, 0, 3], [3, 1, 0]])
found["large"] = [TritonWalks(large).scores(accompanied).tolist(), naive_scores(large, accompanied).tolist()]
zeros = overflowing(game, range(4), 0.0)
found["ties"] = TritonWalks(zeros).scores(order).tolist()
shapes = [(16, 16), (64, 16), (128, 16), (256, 16), (128, 64), (256, 64)]
found["tiles by shape"] = [tile_of(*shape) for shape in shapes]
found["refused"] = [
    refused(small_game(SPECS["cnn"])), refused(small_game(SPECS["tanh"])), refused(small_game(SPECS["softmax"])),
    refused(small_game(SPECS["mlp"], utility=Utility.NEGATIVE_LOSS)), refused(small_game(SPECS["mlp"], limit=1000)),
    refused(small_game(preset("mlp-300", (12,), 4))),
]
json.dump(found, sys.stdout)
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fedcoin.learning.triton_walks import _WARPS, _kernel, tile_of

floats, integers = ["sums_of_clients", "weights", "biases"], ["members", "marks", "starts", "rows", "labels", "counts"]
signature = dict.fromkeys(floats, "*fp32") | dict.fromkeys(integers, "*i32")
signature |= {"walks": "i32", "samples": "i32", "client_size": "i32"}
constants = {"TILE": tile_of(128, 16), "FEATURES": 128, "CLASSES": 10, "WIDTH": 16}
signature |= dict.fromkeys(constants, "constexpr")
assert list(signature) == _kernel.arg_names
aligned = [name for name in signature if signature[name].startswith("*") or name == "client_size"]
attributes = {(list(signature).index(name),): [["tt.divisibility", 16]] for name in aligned}
source = ASTSource(fn=_kernel, signature=signature, constexprs=constants, attrs=attributes)
options = {"num_warps": _WARPS, "enable_fp_fusion": True}
compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
ptx = compiled.asm["ptx"]
assert "fma.rn.f32" in ptx, "the product is in full float32"
assert "tf32" not in ptx
assert "cubin" in compiled.asm
print("compiled", compiled.metadata.shared)
"""


def _run(program: str, tmp_path: Path, **variables: str) -> str:
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), **variables}
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(script)], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the kernel gives in Triton's interpreter, which has to be asked for before triton is imported."""
    return json.loads(_run(INTERPRETED, tmp_path_factory.mktemp("triton"), TRITON_INTERPRET="1"))


@pytest.mark.parametrize("game", ["mlp", "weighted, odd widths, ten classes", "one client and sample"])
def test_counts_are_those_of_fedavg_models(interpreted: dict, game: str) -> None:
    found = interpreted[game]
    assert found["dtype"] == "int64"
    assert found["name"] == "triton-32x4"
    for other in ("torch", "naive"):
        difference = np.abs(np.array(found["scores"]) - np.array(found[other]))
        assert difference.max() <= 1
        assert difference.mean() < 0.2


@pytest.mark.parametrize("game", ["mlp", "weighted, odd widths, ten classes"])
def test_batches_and_tiles_do_not_change_counts(interpreted: dict, game: str) -> None:
    found = interpreted[game]
    assert found["small"] == found["scores"]
    assert np.abs(np.array(found["tiles"]) - np.array(found["scores"])).max() <= 1


def test_an_overflowing_update_touches_only_coalitions_with_it(interpreted: dict) -> None:
    assert interpreted["hostile"] == [[True, 0]] * 3


def test_weights_that_overflow_alone_but_not_in_an_average(interpreted: dict) -> None:
    scores, expected = np.array(interpreted["large"])
    assert len(set(expected.tolist())) > 2
    assert np.abs(scores - expected).max() <= 1


def test_tiles_follow_from_the_shape(interpreted: dict) -> None:
    assert interpreted["tiles by shape"] == [64, 64, 64, 32, 32, 32]


def test_ties_are_wrong(interpreted: dict) -> None:
    assert set(interpreted["ties"]) == {0}


def test_other_games_are_for_other_engines(interpreted: dict) -> None:
    assert all(interpreted["refused"])


def test_the_kernel_compiles_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    script = _run(COMPILED, tmp_path)
    assert script.startswith("compiled")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_counts_on_cuda_are_those_of_the_torch_engine() -> None:
    from fedcoin.learning.triton_walks import TritonWalks

    game = replace(small_game(SPECS["mlp"], 20, 3000, weighted=True), device=torch.device("cuda", 0))
    walks = some_walks(20, count=50)
    expected = RunningSums(game).scores(walks)
    for tile, warps in ((None, 8), (64, 4), (128, 8), (32, 4)):
        difference = np.abs(TritonWalks(game, tile, warps).scores(walks) - expected)
        assert difference.max() <= 2
        assert difference.mean() < 0.2
