"""What this machine is, and how fast it multiplies and copies right now."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SQUARE = 2_048
"""Side of the large product on a CPU."""
_COPY_FLOATS = 64 << 20
"""256 MiB: no cache holds it."""
_LEAST_SECONDS = 0.15
"""One measurement repeats its work for at least so long."""


@dataclass(frozen=True)
class Rates:
    """One measurement of the machine's rates, float32, with all threads given."""

    square_gflops: float
    """Product of two large square matrices, 10⁹ multiplications and additions per second."""
    layer_gflops: float
    """The product that occurs: a last layer's weights with a block of activations, in a batch."""
    copy_gbytes: float
    """Large copy, 10⁹ bytes read and written per second."""


class RateMeter:
    """Measures rates again and again without allocating."""

    def __init__(self, device: torch.device, classes: int, width: int, block: int = 512, batch: int = 64) -> None:
        """`classes`×`width` times `width`×`block`, `batch` of them, is the product that occurs."""
        self._device = device
        side = SQUARE if device.type == "cpu" else 4 * SQUARE
        self._square = self._product(1, side, side, side)
        self._layer = self._product(batch, classes, width, block)
        self._copy = torch.rand(_COPY_FLOATS, device=device), torch.empty(_COPY_FLOATS, device=device)

    def measure(self) -> Rates:
        """All three, one after another."""
        a, b, c = self._square
        square = 2 * a.numel() * b.shape[2] / self._seconds_each(lambda: torch.mm(a[0], b[0], out=c[0]))
        weights, values, products = self._layer
        operations = 2 * weights.numel() * values.shape[2]
        layer = operations / self._seconds_each(lambda: torch.bmm(weights, values, out=products))
        source, target = self._copy
        copied = 2 * 4 * source.numel() / self._seconds_each(lambda: target.copy_(source))
        return Rates(square / 1e9, layer / 1e9, copied / 1e9)

    def _product(self, batch: int, rows: int, inner: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
        """Two factors and room for their product."""
        shapes = (batch, rows, inner), (batch, inner, columns), (batch, rows, columns)
        left, right, product = (torch.rand(shape, device=self._device) for shape in shapes)
        return left, right, product

    def _seconds_each(self, work: Callable[[], object]) -> float:
        """Mean time of one call, after one that is not counted."""
        work()
        self._wait()
        calls, began = 0, time.perf_counter()
        while time.perf_counter() - began < _LEAST_SECONDS:
            for _ in range(8 if self._device.type == "cuda" else 1):  # so that waiting for the GPU costs nothing
                work()
                calls += 1
            self._wait()
        return (time.perf_counter() - began) / calls

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def describe_machine(threads: int) -> dict[str, object]:
    """Processor, cores, memory and versions, for the report."""
    return {
        "cpu": _processor(),
        "cores": cores(),
        "threads": threads,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pydvl": installed_version("pyDVL"),
        "shapiq": installed_version("shapiq"),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_version(package: str) -> str | None:
    """Of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
