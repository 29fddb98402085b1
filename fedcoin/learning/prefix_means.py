"""Parameters averaged over the coalitions of walks (equation (2)), by running sums along each walk.

Sums are float64 in the order in which the clients join, so that a mean is that of `fedavg` over the same list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcoin.learning.architecture import LayerShape
from fedcoin.shapley.walks import Walks

_ALIGNMENT = 16
"""Every tensor of a row begins at a multiple of 64 bytes, so that products see the same alignment for every model."""
_CPU_SUMS, _CUDA_SUMS = 2 << 20, 64 << 20
"""Bytes of float64 sums at a time."""


@dataclass(frozen=True)
class Prefixes:
    """The marked coalitions of a few walks."""

    members: Sequence[Sequence[int]]
    """The clients of each walk in the order in which they join."""
    marks: Sequence[Sequence[int]]
    """Per walk the places in `members` after which the coalition is evaluated, ascending, not empty."""

    @property
    def evaluations(self) -> int:
        """Number of marks."""
        return sum(map(len, self.marks))


def batches(walks: Walks, most: int) -> list[Prefixes]:
    """The marks of `walks` in their order, at most `most` in a batch; a longer walk is begun anew for the rest."""
    members, marks = walks.members.tolist(), np.flatnonzero(walks.marks)
    bounds = np.searchsorted(marks, walks.starts)
    result: list[Prefixes] = []
    ours: tuple[list[list[int]], list[list[int]]] = ([], [])
    room = most
    for walk, start in enumerate(walks.starts[:-1].tolist()):
        places = (marks[bounds[walk] : bounds[walk + 1]] - start).tolist()
        while places:
            part, places = places[:room], places[room:]
            ours[0].append(members[start : start + part[-1] + 1])
            ours[1].append(part)
            room -= len(part)
            if not room:
                result.append(Prefixes(*ours))
                ours, room = ([], []), most
    if ours[0]:
        result.append(Prefixes(*ours))
    return result


def shares_of(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The clients' weights times a power of two, so that they sum to at most 1: sums then cannot overflow first."""
    return counts * 2.0 ** -ceil(log2(counts.sum()))


class PrefixMeans:
    """The mean parameters of some consecutive layers for every marked coalition."""

    def __init__(
        self, steps: Sequence[LayerShape], stack: Tensor, shares: npt.NDArray[np.float64], device: torch.device
    ) -> None:
        """Take the layers, their parameters as flat rows [K, P], and the clients' weights in the average."""
        self._shapes: list[tuple[int, tuple[int, ...]]] = []
        clients = len(stack)
        self._stack = torch.zeros((clients + 1, padded_width(steps)), device=device)  # the last row pads walks
        source = target = 0
        for shape in _tensors(steps):
            size = prod(shape)
            self._stack[:clients, target : target + size] = stack[:, source : source + size]
            self._shapes.append((target, shape))
            source, target = source + size, target + _aligned(size)
        self._shares = shares
        self._most = _CUDA_SUMS if device.type == "cuda" else _CPU_SUMS

    def scales(self, prefixes: Prefixes) -> npt.NDArray[np.float64]:
        """The summed shares of each marked coalition, [evaluations]."""
        sums = [np.cumsum(self._shares[m])[places] for m, places in zip(prefixes.members, prefixes.marks, strict=True)]
        return np.concatenate(sums)

    def rows(
        self, prefixes: Prefixes, multiple: int, carried: Sequence[bool]
    ) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Weight [rows, …] and bias [rows, out] of each layer, and the coalitions' scales [rows].

        Rows are the marked coalitions and then zeros up to a multiple of `multiple`. The biases of layers that are
        `carried` stay multiplied by the scale.
        """
        evaluations, width = prefixes.evaluations, self._stack.shape[1]
        device = self._stack.device
        rows = torch.zeros((-(-evaluations // multiple) * multiple, width), device=device)
        scales = torch.ones(len(rows), dtype=torch.float64)
        scales[:evaluations] = torch.from_numpy(self.scales(prefixes))
        scales = scales.to(device)
        factors = torch.ones(width, dtype=torch.bool)
        for (begin, shape), keep in zip(self._shapes[1::2], carried, strict=True):
            factors[begin : begin + prod(shape)] = not keep
        self._fill(rows, prefixes, scales, factors.to(device))
        tensors = [rows[:, begin : begin + prod(shape)].unflatten(1, shape) for begin, shape in self._shapes]
        return list(zip(tensors[::2], tensors[1::2], strict=True)), scales.to(torch.float32)

    def _fill(self, rows: Tensor, prefixes: Prefixes, scales: Tensor, divided: Tensor) -> None:
        """Write the marked coalitions' parameters, walks and columns at a time as the temporary memory allows."""
        device, width = rows.device, rows.shape[1]
        if not width:
            return
        padding, begin, row = len(self._stack) - 1, 0, 0
        shares = torch.from_numpy(np.append(self._shares, 0.0)).to(device)
        while begin < len(prefixes.members):
            length = max(map(len, prefixes.members))
            end = min(len(prefixes.members), begin + max(1, self._most // (8 * length * width)))
            members = [[*m, *[padding] * (length - len(m))] for m in prefixes.members[begin:end]]
            flat = [at * length + mark for at, places in enumerate(prefixes.marks[begin:end]) for mark in places]
            index = torch.tensor(members, device=device)
            marked = torch.tensor(flat, device=device)
            divisors = scales[row : row + len(flat), None]
            columns = max(1, self._most // (8 * index.numel()))
            for left in range(0, width, columns):
                part = self._stack[:, left : left + columns]
                joined = part.index_select(0, index.view(-1)).to(torch.float64) * shares[index.view(-1), None]
                sums = joined.view(*index.shape, -1).cumsum(1).flatten(0, 1).index_select(0, marked)
                keep = divided[left : left + columns]
                rows[row : row + len(flat), left : left + columns] = torch.where(keep, sums / divisors, sums)
            begin, row = end, row + len(flat)


def temporary_bytes(device: torch.device) -> int:
    """Bytes that PrefixMeans needs while it adds."""
    return 6 * (_CUDA_SUMS if device.type == "cuda" else _CPU_SUMS)


def padded_width(steps: Sequence[LayerShape]) -> int:
    """Floats of one row of parameters with every tensor aligned."""
    return sum(_aligned(prod(shape)) for shape in _tensors(steps))


def _tensors(steps: Sequence[LayerShape]) -> list[tuple[int, ...]]:
    return [shape for step in steps for shape in (step.weight, step.bias) if shape is not None]


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
