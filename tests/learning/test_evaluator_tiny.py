"""Numbers so small that arithmetic with them is slow are zeros for every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedcoin.core.task import Utility
from fedcoin.learning.evaluator import TINY, TorchEvaluator

ALL = np.array([[bool(mask >> k & 1) for k in range(4)] for mask in range(16)])


@pytest.mark.parametrize("utility", list(Utility))
def test_tiny_numbers_count_as_zero_and_others_are_kept(trained_softmax: Any, utility: Utility) -> None:
    # A client whose update is all subnormal would slow every engine down.
    def opened(factor: float, filler: float) -> TorchEvaluator:
        client = {name: torch.full_like(value, factor) for name, value in trained_softmax.updates[0].items()}
        x = trained_softmax.x.clone()
        x[:, 0, 0, :2] = filler
        updates = [client, *trained_softmax.updates[1:]]
        return TorchEvaluator(trained_softmax.spec, updates, None, x, trained_softmax.y, utility, 0, "cpu")

    zero = opened(0.0, 0.0)
    for factor, filler in ((1e-40, 1e-40), (TINY, -TINY), (-1e-45, TINY)):
        tiny = opened(factor, filler)
        assert torch.equal(tiny._game.stack, zero._game.stack)
        assert torch.equal(tiny._game.x, zero._game.x)
        assert tiny.utilities(ALL).tolist() == zero.utilities(ALL).tolist()
    kept = opened(1.01 * TINY, 1.01 * TINY)
    assert (kept._game.stack[0] == 1.01 * TINY).all()
    assert (kept._game.x[:, 0, 0, :2] == 1.01 * TINY).all()


def test_samples_without_tiny_numbers_are_not_copied_and_with_them_not_changed(trained_softmax: Any) -> None:
    x = trained_softmax.x.clone()
    arguments = (trained_softmax.updates, None, x, trained_softmax.y, Utility.ACCURACY, 0, "cpu")
    assert TorchEvaluator(trained_softmax.spec, *arguments)._game.x is x
    x[3] = 1e-42
    assert TorchEvaluator(trained_softmax.spec, *arguments)._game.x is not x
    assert (x[3] > 0).all()
