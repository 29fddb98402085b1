"""Where tensors are computed."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from fedcoin.core.errors import DeviceUnavailable

CPU_MEMORY = 1 << 30
"""Most that an evaluator takes for itself on the CPU unless it is told otherwise."""
_LEAST_MEMORY = 64 << 20
_CGROUP = Path("/sys/fs/cgroup")


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` (CUDA when present, else the CPU), `cpu`, `cuda` or `cuda:<index>`.

    Raises DeviceUnavailable.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (":" in name and not index.isdecimal()):
        raise DeviceUnavailable(f"no device is called {name!r}: use auto, cpu, cuda or cuda:<index>")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise DeviceUnavailable(f"{name} is not there ({count} CUDA devices found): use auto or cpu")
    # With its index, as tensors report it: torch.device("cuda") differs from torch.device("cuda:0").
    return torch.device("cuda", int(index or 0))


def limit_threads(count: int) -> None:
    """Let torch use `count` CPU threads in this process. Nothing else in FedCoin changes torch's threads."""
    torch.set_num_threads(max(1, count))
    # Products too small for normal numbers would take a hundred times as long, which an update could be made for.
    torch.set_flush_denormal(True)


def default_memory_limit(device: torch.device) -> int:
    """Bytes to cache and allocate: half of what is free, on the CPU 1 GiB at most. Values do not depend on it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(_LEAST_MEMORY, free // 2)
    return max(_LEAST_MEMORY, min(CPU_MEMORY, _free_memory() // 2))


def _free_memory() -> int:
    """Bytes of main memory that the system, or the container, would still give; 2 GiB where it does not say."""
    known = [CPU_MEMORY * 2]
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                known = [int(line.split()[1]) * 1024]
    except (OSError, ValueError, IndexError):
        if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            known = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        most, used = ((_CGROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        if most != "max":
            known.append(max(0, int(most) - int(used)))
    except (OSError, ValueError):
        pass  # no container, or one of another kind
    return min(known)
