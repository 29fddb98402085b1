"""Data sets by name or path: embedded digits, MNIST and its relatives, CIFAR-10, and a person's own files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcoin.core.errors import (
    DatasetLabelOutOfRange,
    DatasetMalformed,
    DatasetNotFinite,
    DatasetNotFound,
)
from fedcoin.learning.idx import read_idx
from fedcoin.learning.tensorfile import TensorFileError, read_tensors

NAMES = ("digits", "mnist", "fashion-mnist", "cifar10")
"""Data sets with a name."""

KEYS = ("x_train", "y_train", "x_test", "y_test")
_MAX_HEADER = 65_536
_IDX_FOLDERS = {"mnist": ("mnist", "MNIST/raw"), "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw")}
_TORCHVISION_CLASSES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples for classification, split into training and test sets."""

    name: str
    x_train: Tensor
    """float32 [n, *input_shape]; pixels are scaled to [0, 1]."""
    y_train: Tensor
    """int64 [n], 0 ≤ label < classes."""
    x_test: Tensor
    y_test: Tensor
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample: (features,) or (channels, height, width)."""
        return tuple(self.x_train.shape[1:])


def load_dataset(name_or_path: str, root: Path | None = None) -> Dataset:
    """The data set of that name (see NAMES), or in that folder, .npz or .safetensors file.

    `digits` is embedded. `mnist` and `fashion-mnist` are read from IDX files under `root` (also in root/mnist,
    root/MNIST/raw and the like), or else downloaded by torchvision to `root` (default ~/.cache/fedcoin); so is
    `cifar10`. A folder holds the four IDX files of MNIST's names, an .npz or .safetensors file the arrays x_train,
    y_train, x_test and y_test (features as floats, or as bytes 0 to 255 that are scaled; [n, height, width] becomes one
    channel). A relative path counts from the working directory, then from `root`.

    Raises DatasetNotFound, DatasetMalformed, DatasetNotFinite, DatasetLabelOutOfRange.
    """
    if name_or_path == "digits":
        return _digits()
    if name_or_path in NAMES:
        return _named(name_or_path, root)
    path = Path(name_or_path)
    if not path.exists() and root is not None and not path.is_absolute():
        path = root / path
    if path.is_dir():
        return _from_idx(path.name, path)
    if not path.is_file():
        raise DatasetNotFound(f"{name_or_path!r} is neither one of {', '.join(NAMES)} nor a file or folder that exists")
    if path.suffix == ".npz":
        return _from_arrays(path.stem, str(path), _read_npz(path))
    if path.suffix == ".safetensors":
        try:
            return _from_arrays(path.stem, str(path), read_tensors(path.read_bytes(), _MAX_HEADER))
        except TensorFileError as error:
            raise DatasetMalformed(f"{path}: {error}") from error
        except OSError as error:
            raise DatasetNotFound(f"{path} cannot be read: {error.strerror}") from error
    raise DatasetMalformed(f"{path}: expected a folder of IDX files, an .npz or a .safetensors file")


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DatasetNotFound("digits needs the package scikit-learn: install it, or name another data set") from error
    images, labels = load_digits(return_X_y=True)
    x = (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    # Every fifth sample of each label is for testing: stratified, and the same with every version of every library.
    rank = np.empty(len(labels), dtype=np.int64)
    for label in range(10):
        of_label = np.flatnonzero(labels == label)
        rank[of_label] = np.arange(len(of_label))
    test = rank % 5 == 4
    parts = (x[~test], labels[~test], x[test], labels[test])
    return _from_arrays("digits", "digits", dict(zip(KEYS, parts, strict=True)), classes=10)


def _named(name: str, root: Path | None) -> Dataset:
    home = root if root is not None else Path.home() / ".cache" / "fedcoin"
    if name in _IDX_FOLDERS:
        for folder in (home, *(home / below for below in _IDX_FOLDERS[name])):
            if _idx_file(folder, "train-images", 3) is not None:
                return _from_idx(name, folder, classes=10)
    kind = _TORCHVISION_CLASSES[name]
    try:
        import torchvision.datasets

        load: Callable[..., Any] = getattr(torchvision.datasets, kind)
        train, test = (load(str(home), train=train, download=True) for train in (True, False))
    except ImportError as error:
        raise DatasetNotFound(_where(name, home, "torchvision, which would fetch it, is not installed")) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise DatasetNotFound(_where(name, home, f"fetching it failed ({error})")) from error
    parts = [np.asarray(part) for split in (train, test) for part in (split.data, split.targets)]
    if name == "cifar10":
        parts[0], parts[2] = parts[0].transpose(0, 3, 1, 2), parts[2].transpose(0, 3, 1, 2)
    return _from_arrays(name, f"{name} in {home}", dict(zip(KEYS, parts, strict=True)), classes=10)


def _where(name: str, home: Path, why: str) -> str:
    if name in _IDX_FOLDERS:
        return f"{name} is not under {home} and {why}: put its four IDX files (train-images-idx3-ubyte.gz, …) there"
    return f"{name} is not under {home} and {why}: unpack cifar-10-python.tar.gz there, or name another data set"


def _idx_file(folder: Path, stem: str, dimensions: int) -> Path | None:
    names = (f"{stem}{mark}idx{dimensions}-ubyte{end}" for mark in "-." for end in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _from_idx(name: str, folder: Path, classes: int | None = None) -> Dataset:
    arrays: dict[str, Array] = {}
    for key, stem, dimensions in (
        ("x_train", "train-images", 3),
        ("y_train", "train-labels", 1),
        ("x_test", "t10k-images", 3),
        ("y_test", "t10k-labels", 1),
    ):
        path = _idx_file(folder, stem, dimensions)
        if path is None:
            raise DatasetNotFound(f"{folder} has no {stem}-idx{dimensions}-ubyte or {stem}-idx{dimensions}-ubyte.gz")
        arrays[key] = read_idx(path, dimensions)
    return _from_arrays(name, str(folder), arrays, classes)


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in KEYS if key in archive}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise DatasetMalformed(f"{path} is no .npz file of plain arrays: {error}") from error


def _from_arrays(name: str, where: str, arrays: Mapping[str, Array], classes: int | None = None) -> Dataset:
    """Check the four arrays, scale bytes to [0, 1], and count the classes if they are not given."""
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise DatasetMalformed(f"{where} lacks {', '.join(missing)}")
    y_train, y_test = (_labels(f"{where}: {key}", arrays[key]) for key in ("y_train", "y_test"))
    x_train, x_test = (_features(f"{where}: {key}", arrays[key]) for key in ("x_train", "x_test"))
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if not len(y) or len(x) != len(y):
            raise DatasetMalformed(f"{where}: x_{part} has {len(x)} samples and y_{part} {len(y)} labels")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DatasetMalformed(f"{where}: training samples are {x_train.shape[1:]}, test samples {x_test.shape[1:]}")
    highest = int(max(y_train.max(), y_test.max()))
    classes = max(highest + 1, 2) if classes is None else classes
    if min(int(y_train.min()), int(y_test.min())) < 0 or highest >= classes:
        raise DatasetLabelOutOfRange(f"{where}: labels must be from 0 to {classes - 1}")
    tensors = [torch.from_numpy(np.array(part)) for part in (x_train, y_train, x_test, y_test)]
    return Dataset(name, tensors[0], tensors[1], tensors[2], tensors[3], classes)


def _labels(where: str, array: Array) -> npt.NDArray[np.int64]:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DatasetMalformed(f"{where} is {array.dtype}{array.shape}, expected a list of integers")
    return array.astype(np.int64)


def _features(where: str, array: Array) -> npt.NDArray[np.float32]:
    if array.dtype.kind not in "fu" or array.ndim not in (2, 3, 4) or 0 in array.shape[1:]:
        raise DatasetMalformed(f"{where} is {array.dtype}{array.shape}, expected floats or bytes [n, …] of 2 to 4 axes")
    if array.dtype.kind == "u":
        if array.dtype != np.uint8:
            raise DatasetMalformed(f"{where} is {array.dtype}, expected floats, or bytes from 0 to 255")
        array = array.astype(np.float32) / np.float32(255)
    with np.errstate(over="ignore"):
        features = array.astype(np.float32)
    if not np.isfinite(features).all():
        raise DatasetNotFinite(f"{where} holds NaN or infinity")
    return features[:, None] if features.ndim == 3 else features
