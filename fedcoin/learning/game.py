"""The game of one problem, as the engines take it: what is averaged, and on what it is scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcoin.core.model import ModelSpec
from fedcoin.core.task import Utility


@dataclass(frozen=True, eq=False)
class Game:
    """K updates of one architecture, their weights in the average, and an evaluation set. Checked already."""

    spec: ModelSpec
    stack: Tensor
    """The updates as flat rows in the order of `tensor_shapes`: float32 [K, P], on the CPU, finite."""
    counts: npt.NDArray[np.float64]
    """The weight of each client in FedAvg, at least 1: [K], integers."""
    x: Tensor
    """Samples, float32 [n, *input_shape], on the CPU."""
    y: Tensor
    """Labels, int64 [n], on the CPU."""
    utility: Utility
    device: torch.device
    """Where to compute."""
    memory_limit: int
    """Bytes that an engine may cache or allocate, beyond the tensors above."""
    threads: int
    """CPU threads to use, at least 1."""

    @property
    def clients(self) -> int:
        """K."""
        return len(self.counts)

    @property
    def samples(self) -> int:
        """n."""
        return len(self.y)
