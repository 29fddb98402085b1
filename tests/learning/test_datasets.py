"""Data sets by name and from files, and what is refused."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fedcoin.core.errors import DatasetLabelOutOfRange, DatasetMalformed, DatasetNotFinite, DatasetNotFound
from fedcoin.learning.datasets import Dataset, load_dataset
from fedcoin.learning.tensorfile import write_tensors

RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.integers(0, 256, (12, 5, 4), dtype=np.uint8),
    "t10k": RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8),
}
LABELS = {"train": np.arange(12, dtype=np.uint8) % 3, "t10k": np.arange(6, dtype=np.uint8) % 3}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx_folder(folder: Path, zipped: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        for name, array in ((f"{part}-images-idx3-ubyte", IMAGES[part]), (f"{part}-labels-idx1-ubyte", LABELS[part])):
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (folder / name).write_bytes(idx(array))


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    made = {
        "x_train": RNG.random((8, 3)).astype(np.float32),
        "y_train": np.arange(8) % 4,
        "x_test": RNG.random((4, 3)).astype(np.float32),
        "y_test": np.arange(4),
    }
    return made | changes


def test_digits_are_scaled_stratified_and_complete(digits: Dataset) -> None:
    assert digits.input_shape == (1, 8, 8)
    assert digits.classes == 10
    assert len(digits.y_train) + len(digits.y_test) == 1797
    assert digits.x_train.dtype == torch.float32
    assert digits.y_train.dtype == torch.int64
    assert float(digits.x_train.min()) == 0.0
    assert float(digits.x_train.max()) == 1.0
    whole = np.bincount(np.concatenate([digits.y_train, digits.y_test]), minlength=10)
    assert np.abs(np.bincount(digits.y_test, minlength=10) - whole / 5).max() < 1


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["", "MNIST/raw"])
def test_mnist_is_read_from_idx_files_under_root(tmp_path: Path, zipped: bool, below: str) -> None:
    write_idx_folder(tmp_path / below, zipped)
    data = load_dataset("mnist", tmp_path)
    assert data.input_shape == (1, 5, 4)
    assert data.classes == 10
    assert torch.equal(data.x_test[:, 0], torch.from_numpy(IMAGES["t10k"].astype(np.float32) / np.float32(255)))
    assert data.y_train.tolist() == LABELS["train"].tolist()


def test_folder_of_idx_files_counts_its_classes_and_may_be_relative_to_root(tmp_path: Path) -> None:
    write_idx_folder(tmp_path / "mine", zipped=False)
    data = load_dataset("mine", tmp_path)
    assert (data.name, data.classes) == ("mine", 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "starts with"),
        (idx(IMAGES["train"])[:-1], "truncated"),
        (idx(IMAGES["train"]) + b"x", "longer"),
        (idx(IMAGES["train"])[:10], "truncated"),
        (b"\x00\x00\x0d\x03" + idx(IMAGES["train"])[4:], "starts with"),
        (idx(LABELS["train"]), "starts with"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "too large"),
        (bytes([0, 0, 8, 3]) + bytes(12), "empty"),
    ],
)
def test_broken_idx_file_is_refused_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    write_idx_folder(tmp_path, zipped=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DatasetMalformed, match=rf"train-images-idx3-ubyte.*{says}"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"no gzip", lambda data: data[:20] + b"\0" * 20]
)
def test_broken_gzip_is_refused_by_name(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write_idx_folder(tmp_path, zipped=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetMalformed, match="t10k-images"):
        load_dataset(str(tmp_path))


def test_missing_idx_file_is_named(tmp_path: Path) -> None:
    write_idx_folder(tmp_path, zipped=False)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DatasetNotFound, match="t10k-labels"):
        load_dataset(str(tmp_path))


def test_mnist_label_above_nine_is_refused(tmp_path: Path) -> None:
    write_idx_folder(tmp_path, zipped=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS["train"] + 8))
    with pytest.raises(DatasetLabelOutOfRange):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_failed_download_says_where_to_put_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import torchvision.datasets

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no route to host")

    monkeypatch.setattr(torchvision.datasets, {"mnist": "MNIST", "cifar10": "CIFAR10"}[name], fail)
    with pytest.raises(DatasetNotFound, match=rf"{tmp_path}.*no route to host"):
        load_dataset(name, tmp_path)


def test_cifar10_gets_its_channels_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    pixels = RNG.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    fetched = SimpleNamespace(data=pixels, targets=[3, 0, 9, 1])
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda *_, **__: fetched)
    data = load_dataset("cifar10", tmp_path)
    assert data.input_shape == (3, 32, 32)
    assert data.y_test.tolist() == [3, 0, 9, 1]
    assert float(data.x_train[2, 1, 5, 7]) == pytest.approx(pixels[2, 5, 7, 1] / 255)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_own_arrays_are_loaded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    made = arrays()
    if suffix == ".npz":
        np.savez(path, **made)
    else:
        path.write_bytes(write_tensors(made))
    data = load_dataset(str(path))
    assert (data.name, data.classes, data.input_shape) == ("mine", 4, (3,))
    assert np.array_equal(data.x_train.numpy(), made["x_train"])


def test_byte_images_get_a_channel_and_are_scaled(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", **arrays(x_train=np.full((8, 2, 2), 255, np.uint8), x_test=np.zeros((4, 2, 2), np.uint8))
    )
    data = load_dataset("a.npz", tmp_path)
    assert data.input_shape == (1, 2, 2)
    assert float(data.x_train.max()) == 1.0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"x_train": np.full((8, 3), np.nan)}, DatasetNotFinite),
        ({"x_test": np.full((4, 3), 1e300)}, DatasetNotFinite),
        ({"y_train": np.arange(8) - 1}, DatasetLabelOutOfRange),
        ({"y_train": np.full(8, 2**63, np.uint64)}, DatasetLabelOutOfRange),
        ({"y_train": np.arange(7)}, DatasetMalformed),
        ({"y_train": np.linspace(0, 1, 8)}, DatasetMalformed),
        ({"x_train": np.zeros((8, 4), np.float32)}, DatasetMalformed),
        ({"x_train": np.zeros((8, 3), np.int64)}, DatasetMalformed),
        ({"x_train": np.zeros((8, 3), np.uint16)}, DatasetMalformed),
        ({"x_train": np.zeros((0, 3), np.float32), "y_train": np.zeros(0, np.int64)}, DatasetMalformed),
        ({"x_train": np.array([{"a": 1}] * 8, dtype=object)}, DatasetMalformed),
    ],
)
def test_arrays_that_make_no_data_set_are_refused(tmp_path: Path, changes: dict, error: type[Exception]) -> None:
    np.savez(tmp_path / "bad.npz", **arrays(**changes))
    with pytest.raises(error, match=r"bad\.npz"):
        load_dataset(str(tmp_path / "bad.npz"))


def test_missing_array_is_named(tmp_path: Path) -> None:
    made = arrays()
    del made["y_test"]
    np.savez(tmp_path / "bad.npz", **made)
    with pytest.raises(DatasetMalformed, match="y_test"):
        load_dataset(str(tmp_path / "bad.npz"))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".csv"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"\x80\x04K\x01."])
def test_file_of_another_format_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(DatasetMalformed, match="bad"):
        load_dataset(str(path))


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DatasetNotFound, match="digits, mnist, fashion-mnist, cifar10"):
        load_dataset("mnits")


def test_torchvision_is_imported_only_when_needed() -> None:
    code = (
        "import sys; import fedcoin.learning.evaluator, fedcoin.learning.datasets, fedcoin.learning.training; "
        "sys.exit(any(name in sys.modules for name in ('torchvision', 'sklearn', 'grpc', 'rocksdict', 'ecdsa')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
