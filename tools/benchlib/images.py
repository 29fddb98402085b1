"""Images to train and judge on: MNIST's files where they are given, else made-up ones of the same shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchlib.workloads import CLASSES, SIDE
from fedcoin.learning.datasets import Dataset, load_dataset

TRAIN, TEST = 60_000, 10_000
_MODES = 4
"""Ways to draw each class."""
_SHIFT = 2
"""Pixels that a drawing may be off its place, in each direction."""


def load_images(data_root: Path | None, seed: int) -> Dataset:
    """MNIST from `data_root`, or made-up images. Raises the errors of load_dataset."""
    return made_up(seed) if data_root is None else load_dataset("mnist", data_root)


def fingerprint(data_root: Path | None) -> str:
    """Tells one source of images from another without reading it: names, sizes and times of the files."""
    if data_root is None:
        return "made up"
    files = sorted(path for path in data_root.resolve().rglob("*ubyte*") if path.is_file())
    return "mnist " + " ".join(f"{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in files)


def made_up(seed: int, train: int = TRAIN, test: int = TEST) -> Dataset:
    """Ten classes of blurred random drawings, each with several modes, shifted about and covered with noise.

    About as hard as MNIST for a small network, and the same for the same seed.
    """
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.standard_normal((CLASSES * _MODES, 1, 7, 7)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=SIDE + 2 * _SHIFT, mode="bicubic")
    drawings = torch.sigmoid(6 * smooth - 3)[:, 0]
    moves = 2 * _SHIFT + 1
    placed = drawings.unfold(1, SIDE, 1).unfold(2, SIDE, 1).reshape(CLASSES * _MODES, moves**2, SIDE * SIDE)
    parts = []
    for count in (train, test):
        labels = rng.integers(0, CLASSES, count)
        mode = labels * _MODES + rng.integers(0, _MODES, count)
        ink = placed[torch.from_numpy(mode), torch.from_numpy(rng.integers(0, moves**2, count))]
        strength = torch.from_numpy(rng.uniform(0.6, 1.0, (count, 1)).astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal((count, SIDE * SIDE), dtype=np.float32))
        x = (ink * strength + 0.25 * noise).clamp_(0, 1).view(count, 1, SIDE, SIDE)
        parts += [x, torch.from_numpy(labels.astype(np.int64))]
    return Dataset("made up", parts[0], parts[1], parts[2], parts[3], CLASSES)
