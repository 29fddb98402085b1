"""Samples between NumPy, in which they travel between processes, and torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def samples_from_arrays(x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Copies of x as float32 [n, *input_shape] and y as int64 [n], in the form that train_locally takes."""
    return torch.from_numpy(np.array(x, dtype=np.float32)), torch.from_numpy(np.array(y, dtype=np.int64))
