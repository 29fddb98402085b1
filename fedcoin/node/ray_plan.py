"""Which workers a Ray cluster gets: how many on each node, with how many threads, on a GPU or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcoin.core.errors import DeviceUnavailable


@dataclass(frozen=True)
class Node:
    """A machine of the cluster that is alive."""

    name: str
    """Ray's identifier of it; a machine that comes back gets another one."""
    host: str
    cpus: int
    """That Ray may use."""
    gpus: int = 0


@dataclass(frozen=True)
class Place:
    """What one worker takes of a node."""

    node: Node
    threads: int
    gpu: bool = False

    @property
    def device(self) -> str:
        """As `resolve_device` takes it; Ray shows a worker its own GPU only."""
        return "cuda" if self.gpu else "cpu"


def check_device(device: str) -> None:
    """Raises DeviceUnavailable for a name that means nothing on a cluster."""
    if device not in {"auto", "cpu", "cuda"}:
        raise DeviceUnavailable(f"no device of a Ray cluster is called {device!r}: use auto, cpu or cuda")


def wants_gpus(nodes: Sequence[Node], device: str) -> bool:
    """Whether workers are to compute on GPUs: `auto` does where there are any. Raises DeviceUnavailable."""
    check_device(device)
    found = any(node.gpus for node in nodes)
    if device == "cuda" and not found:
        raise DeviceUnavailable("no node of the Ray cluster has a GPU that Ray knows of: use auto or cpu")
    return found and device != "cpu"


def threads_for(nodes: Sequence[Node], workers: int) -> int:
    """The most threads with which so many workers find room, at least 1."""
    largest = max((node.cpus for node in nodes), default=1)
    return next((t for t in range(largest, 1, -1) if sum(node.cpus // t for node in nodes) >= workers), 1)


def places(nodes: Sequence[Node], workers: int, threads: int, gpus: bool) -> list[Place]:
    """The cluster's workers, `workers` at most (0: as many as there is room for), spread over the nodes.

    One to a GPU, or one to every `threads` CPUs (0: one to a node, with all its CPUs).
    """
    by_node: list[list[Place]] = []
    for node in sorted(nodes, key=lambda node: node.name):
        if gpus:
            by_node.append([Place(node, max(1, node.cpus // node.gpus), gpu=True)] * node.gpus if node.gpus else [])
        elif node.cpus:
            by_node.append([Place(node, threads or node.cpus)] * (node.cpus // (threads or node.cpus)))
    deepest = max((len(row) for row in by_node), default=0)
    spread = [row[depth] for depth in range(deepest) for row in by_node if depth < len(row)]
    return spread[: workers or len(spread)]
