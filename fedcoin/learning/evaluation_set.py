"""The codec for evaluation sets: the samples on which every node measures every coalition.

Safetensors with `x` (float32 [n, *input_shape]) and `y` (int64 [n]). Its digest is committed in the order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedcoin.core.errors import (
    EvaluationSetLabelOutOfRange,
    EvaluationSetMalformed,
    EvaluationSetNotFinite,
    EvaluationSetOutOfRange,
    EvaluationSetTooLarge,
)
from fedcoin.core.model import ModelSpec
from fedcoin.learning.architecture import check_outline
from fedcoin.learning.tensorfile import TensorFileError, header_allowance, read_tensors, write_tensors

MAX_EVALUATION_BYTES = 256 * 1024 * 1024
"""Of one evaluation set. CIFAR-10's test set has 123 MB, MNIST's 31 MB."""
MAX_FEATURE = 1e6
"""The largest magnitude of a feature, for the reasons of `weights.MAX_PARAMETER`. Learning wants features near 1."""


def encode_evaluation_set(x: Tensor, y: Tensor) -> bytes:
    """The safetensors bytes of x (float32 [n, *input_shape]) and y (int64 [n]); equal sets have equal digests.

    Raises EvaluationSetMalformed, EvaluationSetNotFinite, EvaluationSetOutOfRange, EvaluationSetTooLarge.
    """
    if x.dtype != torch.float32 or y.dtype != torch.int64 or y.dim() != 1 or len(x) != len(y) or not len(y):
        raise EvaluationSetMalformed("expected x as float32 [n, …] and y as int64 [n] with n ≥ 1")
    if not bool(torch.isfinite(x).all()):
        raise EvaluationSetNotFinite()
    _check_range(x)
    data = write_tensors({"x": x.detach().cpu().numpy(), "y": y.detach().cpu().numpy()})
    _check_size(len(data))
    return data


def decode_evaluation_set(data: bytes, spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """x (float32 [n, *input_shape]) and y (int64 [n], below spec.classes) from bytes that may be hostile.

    Raises EvaluationSetTooLarge (before anything is parsed), EvaluationSetMalformed, EvaluationSetNotFinite,
    EvaluationSetOutOfRange, EvaluationSetLabelOutOfRange.
    """
    check_outline(spec)
    _check_size(len(data))
    try:
        arrays = read_tensors(data, header_allowance({"x": (), "y": ()}))
    except TensorFileError as error:
        raise EvaluationSetMalformed(f"not an evaluation set: {error}") from error
    if set(arrays) != {"x", "y"}:
        raise EvaluationSetMalformed("an evaluation set has exactly the tensors x and y")
    x, y = arrays["x"], arrays["y"]
    if x.dtype != np.dtype("<f4") or y.dtype != np.dtype("<i8"):
        raise EvaluationSetMalformed(f"x is {x.dtype} and y {y.dtype}, expected float32 and int64")
    if y.ndim != 1 or not len(y) or x.shape != (len(y), *spec.input_shape):
        raise EvaluationSetMalformed(
            f"x has shape {x.shape} and y {y.shape}, expected n ≥ 1 samples of {spec.input_shape} and n labels"
        )
    if int(y.min()) < 0 or int(y.max()) >= spec.classes:
        raise EvaluationSetLabelOutOfRange(f"labels {y.min()} to {y.max()}, the model has {spec.classes} classes")
    if not np.isfinite(x).all():
        raise EvaluationSetNotFinite()
    samples = torch.from_numpy(x.astype(np.float32, copy=True))
    _check_range(samples)
    return samples, torch.from_numpy(y.astype(np.int64, copy=True))


def _check_range(x: Tensor) -> None:
    low, high = (float(bound) for bound in torch.aminmax(x.detach())) if x.numel() else (0.0, 0.0)
    if max(-low, high) > MAX_FEATURE:
        raise EvaluationSetOutOfRange(
            f"x holds {low if -low > high else high:.4g}, features are between -{MAX_FEATURE:.0f} and "
            f"{MAX_FEATURE:.0f}: scale them, for the clients' data and the evaluation set alike"
        )


def _check_size(size: int) -> None:
    if size > MAX_EVALUATION_BYTES:
        raise EvaluationSetTooLarge(f"{size} bytes exceed the limit of {MAX_EVALUATION_BYTES}: use fewer samples")
