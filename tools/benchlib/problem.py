"""A workload's blobs: trained once, kept in a folder, and read from there as a miner reads its own."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchlib.images import fingerprint, load_images
from benchlib.workloads import CLASSES, SIDE, TYPES, Workload
from fedcoin.core.model import ModelSpec
from fedcoin.core.task import Aggregation, Baseline, Utility
from fedcoin.learning.datasets import Dataset
from fedcoin.learning.evaluation_set import decode_evaluation_set, encode_evaluation_set
from fedcoin.learning.evaluator import TorchEvaluator, open_evaluator
from fedcoin.learning.models import Weights, initial_weights, preset
from fedcoin.learning.partition import partition_by_type
from fedcoin.learning.training import train_locally
from fedcoin.learning.weights import decode, encode

VERSION = 1
"""Of how problems are made: a change makes old folders worthless."""
_PAUSE_SECONDS = 5.0
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Problem:
    """Blobs in a folder."""

    workload: Workload
    folder: Path

    @property
    def spec(self) -> ModelSpec:
        """The clients' architecture."""
        return preset(self.workload.model, (1, SIDE, SIDE), CLASSES)

    def update_blobs(self) -> list[bytes]:
        """The K updates."""
        return [(self.folder / _update(index)).read_bytes() for index in range(self.workload.clients)]

    def updates(self) -> list[Weights]:
        """The K updates, decoded."""
        return [decode(blob, self.spec) for blob in self.update_blobs()]

    def samples(self) -> tuple[Tensor, Tensor]:
        """The evaluation set: x, float32 [n, 1, 28, 28], and y, int64 [n]."""
        return decode_evaluation_set((self.folder / "evaluation.safetensors").read_bytes(), self.spec)

    def evaluator(self, device: str) -> TorchEvaluator:
        """This product's evaluator of the game of §6: accuracy, plain FedAvg, v(∅) = 0."""
        return open_evaluator(
            self.spec,
            (self.folder / "base.safetensors").read_bytes(),
            self.update_blobs(),
            [self.workload.samples] * self.workload.clients,
            (self.folder / "evaluation.safetensors").read_bytes(),
            Aggregation.UNWEIGHTED,
            Utility.ACCURACY,
            Baseline.ZERO,
            device,
        )


def prepare_problem(workload: Workload, cache: Path, data_root: Path | None, seed: int, say: Progress) -> Problem:
    """The workload's blobs, trained now unless they are in `cache`. Raises the errors of load_dataset, OSError."""
    made_of = {"version": VERSION, "data": fingerprint(data_root), "seed": seed, "torch": torch.__version__}
    key = hashlib.sha256(json.dumps({**asdict(workload), **made_of}, sort_keys=True).encode()).hexdigest()[:16]
    problem = Problem(workload, cache / f"{workload.name}-{key}")
    if not problem.folder.is_dir():
        partial = cache / f".{workload.name}-{key}-{os.getpid()}"
        partial.mkdir(parents=True, exist_ok=True)
        _train(Problem(workload, partial), load_images(data_root, seed), seed, say)
        partial.rename(problem.folder)  # whole or not there
    return problem


def _train(problem: Problem, data: Dataset, seed: int, say: Progress) -> None:
    """Trains every client from the same start, as a first round does."""
    workload, spec, folder = problem.workload, problem.spec, problem.folder
    base = initial_weights(spec, seed)
    shares = partition_by_type(data.y_train, data.classes, workload.clients, TYPES, workload.samples, seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # batches of 32 are too small to divide
    try:
        for share in shares:
            say(f"{workload.name}: training client {share.index + 1} of {workload.clients}")
            chosen = torch.from_numpy(share.sample_indices)
            update = train_locally(
                spec, base, data.x_train[chosen], data.y_train[chosen], workload.training, seed + share.index
            )
            (folder / _update(share.index)).write_bytes(encode(update))
    finally:
        torch.set_num_threads(threads)
    (folder / "base.safetensors").write_bytes(encode(base))
    count = min(workload.images, len(data.y_test))
    evaluation_set = encode_evaluation_set(data.x_test[:count], data.y_test[:count])
    (folder / "evaluation.safetensors").write_bytes(evaluation_set)


def _update(index: int) -> str:
    return f"update-{index:03}.safetensors"


class _Shown:
    """When the last line of progress was written."""

    at = float("-inf")


def show_progress(text: str) -> None:
    """On a terminal writes over the last line; elsewhere a line every few seconds, and what ends in a full stop."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}" + "\n" * text.endswith("."))
    elif text.endswith(".") or time.monotonic() - _Shown.at > _PAUSE_SECONDS:
        sys.stderr.write(f"{text}\n")
        _Shown.at = time.monotonic()
    sys.stderr.flush()
