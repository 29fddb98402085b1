"""Where tensors are computed."""

from __future__ import annotations

import torch

from fedcoin.core.errors import DeviceUnavailable


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
