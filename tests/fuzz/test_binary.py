"""Binary decoders besides the canonical layouts: tensor files, data sets, Merkle proofs, leaves, evaluator frames."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from fedcoin.core.errors import FedCoinError, InvalidMerkleProof, MalformedLeaf
from fedcoin.core.merkle import MerkleLog, verify_consistency, verify_inclusion
from fedcoin.learning import weights
from fedcoin.learning.datasets import load_dataset
from fedcoin.learning.evaluation_set import decode_evaluation_set, encode_evaluation_set
from fedcoin.learning.idx import read_idx
from fedcoin.learning.models import initial_weights, preset
from fedcoin.learning.tensorfile import TensorFileError, read_tensors, write_tensors
from fedcoin.node.evaluator_frames import frame_start, read_frame
from fedcoin.shapley.leaves import VALUE_SIZE, decode_leaf, encode_leaf
from tests.fuzz.json_strategies import ANYTHING, spoilt
from tests.fuzz.profile import profile
from tests.fuzz.strategies import mutated

SPEC = preset("softmax", (4,), 2)
UPDATE = weights.encode(initial_weights(SPEC, 0))
SET = encode_evaluation_set(torch.zeros(3, 4), torch.tensor([0, 1, 1]))
MEMORY = 512 * 2**10
"""Bytes that the refusal of a file of a few hundred bytes may take."""


def with_header(document: Any, body: bytes) -> bytes:
    """A safetensors file with that header."""
    import json

    text = json.dumps(document).encode()
    return len(text).to_bytes(8, "little") + text + body


def header_of(data: bytes) -> tuple[Any, bytes]:
    import json

    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def hostile_tensors(data: bytes) -> st.SearchStrategy[bytes]:
    header, body = header_of(data)
    spoilt_headers = spoilt(st.just(header)).map(lambda document: with_header(document, body))
    return mutated(st.just(data)) | spoilt_headers | ANYTHING.map(lambda document: with_header(document, body))


@pytest.mark.parametrize(
    ("decode", "data"),
    [(weights.decode, UPDATE), (decode_evaluation_set, SET)],
    ids=["update", "evaluation set"],
)
def test_tensors_are_read_or_refused_without_memory(decode: Callable[..., Any], data: bytes) -> None:
    decode(data, SPEC)

    @profile(80)
    @given(hostile_tensors(data) | st.binary(max_size=60))
    @example((2**63).to_bytes(8, "little") + b"{")
    @example(with_header({"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)))
    @example(with_header({"x": {"dtype": "F32", "shape": [0] * 100, "data_offsets": [0, 0]}}, b""))
    def check(hostile: bytes) -> None:
        tracemalloc.start()
        try:
            decode(hostile, SPEC)
        except FedCoinError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < MEMORY

    check()


@profile(60)
@given(st.dictionaries(st.text(max_size=8), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4), max_size=3))
def test_tensors_are_read_back(lists: dict[str, list[int]]) -> None:
    tensors = {name: np.array(values, dtype="<i4") for name, values in lists.items()}
    try:
        data = write_tensors(tensors)
    except TensorFileError:
        return
    read = read_tensors(data, 2**16)
    assert {name: array.tolist() for name, array in read.items()} == lists


def idx_file(images: int, side: int) -> bytes:
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (images, side, side))
    return header + bytes(images * side * side)


def test_idx_files_are_read_or_refused_without_memory(tmp_path: Path) -> None:
    @profile(80)
    @given(mutated(st.just(idx_file(3, 4))) | st.binary(max_size=40), st.booleans(), st.data())
    @example(bytes([0, 0, 8, 3]) + b"\x00\x00\x80\x00" * 3, False, None)
    def check(hostile: bytes, zipped: bool, data: Any) -> None:
        path = tmp_path / ("images.gz" if zipped else "images")
        if zipped:
            hostile = gzip.compress(hostile, mtime=0)
            if data.draw(st.booleans()):
                hostile = data.draw(mutated(st.just(hostile)))
        path.write_bytes(hostile)
        tracemalloc.start()
        try:
            assert read_idx(path, 3).ndim == 3
        except FedCoinError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < MEMORY + 2**20  # a gzip file's own buffers

    check()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_data_set_files_are_read_or_refused(suffix: str, tmp_path: Path) -> None:
    arrays = {
        "x_train": np.zeros((4, 3), dtype=np.float32),
        "y_train": np.array([0, 1, 0, 1]),
        "x_test": np.zeros((2, 3), dtype=np.float32),
        "y_test": np.array([0, 1]),
    }
    path = tmp_path / f"data{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
        whole = path.read_bytes()
        hostile = mutated(st.just(whole))
    else:
        whole = write_tensors(arrays)
        hostile = hostile_tensors(whole)

    @profile(80)
    @given(hostile | st.binary(max_size=40))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            load_dataset(str(path))
        except FedCoinError:
            return

    check()


SIZES = st.integers(0, 2**64) | st.integers(0, 40)


@profile(80)
@given(st.integers(1, 20), st.data())
def test_only_the_right_path_proves_a_leaf(size: int, data: st.DataObject) -> None:
    log = MerkleLog()
    for number in range(size):
        log.append(bytes([number]))
    index = data.draw(st.integers(0, size - 1))
    path = log.inclusion_proof(index, size)
    verify_inclusion(bytes([index]), index, size, path, log.root())
    forged = data.draw(st.lists(st.sampled_from([*path, bytes(32), b"", log.root()]), max_size=8))
    leaf, place, length = data.draw(st.binary(max_size=2)), data.draw(SIZES), data.draw(SIZES)
    try:
        verify_inclusion(leaf, place, length, forged, log.root())
    except InvalidMerkleProof:
        return
    # A tree's size is not part of its root, so that some other sizes have the same path; the leaf is always right.
    assert leaf == bytes([place % 256])
    assert forged == path


@profile(80)
@given(st.integers(1, 20), st.data())
def test_only_the_right_hashes_prove_that_a_tree_has_grown(size: int, data: st.DataObject) -> None:
    log = MerkleLog()
    for number in range(size):
        log.append(bytes([number]))
    old = data.draw(st.integers(1, size))
    proof = log.consistency_proof(old, size)
    verify_consistency(old, log.root(old), size, log.root(), proof)
    forged = data.draw(st.lists(st.sampled_from([*proof, bytes(32), b""]), max_size=8))
    first, second = data.draw(SIZES), data.draw(SIZES)
    try:
        verify_consistency(first, log.root(old), second, log.root(), forged)
    except InvalidMerkleProof:
        return
    assert forged == proof


@profile(80)
@given(st.binary(max_size=40), st.integers(0, 4))
def test_a_leaf_is_canonical_or_refused(data: bytes, clients: int) -> None:
    try:
        values = decode_leaf(data, clients)
    except MalformedLeaf:
        return
    assert len(values) == clients
    assert encode_leaf(values) == data
    assert len(data) == VALUE_SIZE * clients


@profile(80)
@given(st.dictionaries(st.text(max_size=5), ANYTHING, max_size=3), st.binary(max_size=20), st.data())
def test_frames_are_read_back_or_end_the_reading(head: dict[str, Any], body: bytes, data: st.DataObject) -> None:
    frame = frame_start(head, len(body)) + body
    read, rest = read_frame(io.BytesIO(frame))
    assert repr(read) == repr(head)
    assert rest == body
    for torn in (frame[: data.draw(st.integers(0, len(frame) - 1))], data.draw(mutated(st.just(frame)))):
        try:
            read_frame(io.BytesIO(torn))
        except (EOFError, ValueError):
            continue
