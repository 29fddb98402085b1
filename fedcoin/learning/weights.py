"""The codec for model updates: safetensors, checked against the architecture before anything uses them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedcoin.core.errors import UpdateMalformed, UpdateNotFinite, UpdateOutOfRange, UpdateTooLarge, UpdateWrongShape
from fedcoin.core.model import ModelSpec
from fedcoin.learning.models import Weights, parameter_count, tensor_shapes
from fedcoin.learning.tensorfile import TensorFileError, header_allowance, read_tensors, write_tensors

MAX_PARAMETER = 1e4
"""The largest magnitude of a parameter. Trained parameters stay far below.

Updates with larger ones could cancel each other, and leave a float32 sum over clients further from the exact mean than
audits tolerate, or overflow it. Then one client could force every miner onto slower arithmetic.
"""


def encode(weights: Weights) -> bytes:
    """The safetensors bytes of `weights`: sorted names, no metadata, so equal weights have equal digests.

    Raises UpdateNotFinite for NaN or infinity, UpdateOutOfRange for a parameter beyond ±MAX_PARAMETER, UpdateWrongShape
    for a tensor that is not float32.
    """
    for name, value in weights.items():
        if value.dtype != torch.float32:
            raise UpdateWrongShape(f"{name} is {value.dtype}, weights are float32")
        if not bool(torch.isfinite(value).all()):
            raise UpdateNotFinite(f"{name} holds NaN or infinity; train again with a smaller learning rate")
        _check_range(name, value)
    return write_tensors({name: value.detach().cpu().numpy() for name, value in weights.items()})


def expected_size(spec: ModelSpec) -> int:
    """The most bytes that an update of `spec` may have: its parameters and an allowance for the header.

    Raises as tensor_shapes.
    """
    return 8 + header_allowance(tensor_shapes(spec)) + 4 * parameter_count(spec)


def decode(data: bytes, spec: ModelSpec) -> Weights:
    """The weights in `data`, which may be hostile, in the order of the architecture's state.

    Raises UpdateTooLarge (before anything is parsed), UpdateMalformed (no safetensors, other tensor names),
    UpdateWrongShape (another shape or type than the architecture's), UpdateNotFinite, UpdateOutOfRange.
    """
    limit = expected_size(spec)
    if len(data) > limit:
        raise UpdateTooLarge(f"{len(data)} bytes, but an update of {spec.name!r} has at most {limit}")
    shapes = tensor_shapes(spec)
    try:
        arrays = read_tensors(data, header_allowance(shapes))
    except TensorFileError as error:
        raise UpdateMalformed(f"not a model update: {error}") from error
    if set(arrays) != set(shapes):
        missing, unknown = sorted(set(shapes) - set(arrays)), sorted(set(arrays) - set(shapes))
        raise UpdateMalformed(f"tensors missing: {missing[:4]}, tensors unknown: {[name[:64] for name in unknown[:4]]}")
    weights: Weights = {}
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.dtype("<f4") or array.shape != shape:
            raise UpdateWrongShape(f"{name} is {array.dtype}{array.shape}, expected float32{shape}")
        if not np.isfinite(array).all():
            raise UpdateNotFinite(f"{name} holds NaN or infinity")
        weights[name] = torch.from_numpy(array.astype(np.float32, copy=True))
        _check_range(name, weights[name])
    return weights


def _check_range(name: str, value: Tensor) -> None:
    low, high = (float(bound) for bound in torch.aminmax(value.detach())) if value.numel() else (0.0, 0.0)
    if max(-low, high) > MAX_PARAMETER:
        raise UpdateOutOfRange(
            f"{name} holds {low if -low > high else high:.4g}, parameters are between -{MAX_PARAMETER:.0f} and "
            f"{MAX_PARAMETER:.0f}: train with a lower learning rate"
        )
