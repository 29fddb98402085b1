"""The workloads: K trained updates of one architecture and the images they are judged on."""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.learning.training import TrainingSettings

SIDE = 28
"""Images are 28×28 pixels of one channel, as MNIST's."""
CLASSES = 10
TYPES = 10
"""Clients are of types T0 to T9 (§6.1)."""


@dataclass(frozen=True)
class Workload:
    """A Shapley problem to measure."""

    name: str
    clients: int
    """K."""
    model: str
    """A preset of fedcoin.learning.models."""
    images: int = 10_000
    """Of the test set."""
    samples: int = 600
    """Of each client."""
    passes: int = 20
    """Of each client over its samples; the 20 iterations of §6.1."""
    learning_rate: float = 0.3
    """The default of `fedcoin localnet`."""

    @property
    def training(self) -> TrainingSettings:
        """How each client trains."""
        return TrainingSettings(iterations=None, epochs=self.passes, learning_rate=self.learning_rate)

    def describe(self) -> str:
        """One line for people."""
        return f"{self.name}: {self.clients} clients, {self.model}, {self.images:,} images"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W10", 10, "mlp-128"),
        Workload("W100", 100, "mlp-128"),
        Workload("softmax", 100, "softmax"),
        # A tenth of the images: one iteration of Algorithm 1 would take more than ten seconds with all of them.
        Workload("cnn", 10, "cnn", images=1_000),
        Workload("tiny", 4, "mlp-16", images=200, samples=200, passes=15),
    )
}
DEFAULT = ("W10", "W100", "softmax", "cnn")
"""`tiny` is for tests."""


def find_workload(name: str) -> Workload | None:
    """The workload of that name, in capitals or not; None if there is none."""
    return next((workload for key, workload in WORKLOADS.items() if key.lower() == name.lower()), None)
