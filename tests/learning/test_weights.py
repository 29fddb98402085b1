"""The update codec and the evaluation-set codec: deterministic out, strict in."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import pytest
import safetensors.torch
import torch

from fedcoin.core.errors import (
    EvaluationSetLabelOutOfRange,
    EvaluationSetMalformed,
    EvaluationSetNotFinite,
    EvaluationSetOutOfRange,
    EvaluationSetTooLarge,
    FedCoinError,
    UpdateMalformed,
    UpdateNotFinite,
    UpdateOutOfRange,
    UpdateTooLarge,
    UpdateWrongShape,
)
from fedcoin.learning.evaluation_set import MAX_FEATURE, decode_evaluation_set, encode_evaluation_set
from fedcoin.learning.models import initial_weights, preset
from fedcoin.learning.tensorfile import write_tensors
from fedcoin.learning.weights import MAX_PARAMETER, decode, encode, expected_size

SPEC = preset("mlp-5", (6,), 3)
WEIGHTS = initial_weights(SPEC, 0)
DATA = encode(WEIGHTS)
X, Y = torch.rand(7, 6), torch.arange(7) % 3


def split(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: object, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_update_round_trip_keeps_bits_and_order() -> None:
    decoded = decode(DATA, SPEC)
    assert list(decoded) == list(WEIGHTS)
    assert all(torch.equal(decoded[name], WEIGHTS[name]) for name in WEIGHTS)
    decoded["0.bias"].add_(1)  # a private, writable copy
    assert encode(decode(DATA, SPEC)) == DATA


def test_update_bytes_do_not_depend_on_the_order_of_names() -> None:
    assert encode(dict(reversed(WEIGHTS.items()))) == DATA


def test_update_is_real_safetensors_in_both_directions() -> None:
    theirs = safetensors.torch.load(DATA)
    assert all(torch.equal(theirs[name], WEIGHTS[name]) for name in WEIGHTS)
    back = decode(safetensors.torch.save(WEIGHTS, metadata={"format": "pt"}), SPEC)
    assert all(torch.equal(back[name], WEIGHTS[name]) for name in WEIGHTS)


def test_expected_size_bounds_honest_updates_tightly() -> None:
    assert len(DATA) <= expected_size(SPEC) <= len(DATA) + 4096


def test_encode_refuses_what_decode_would() -> None:
    with pytest.raises(UpdateNotFinite):
        encode(WEIGHTS | {"0.bias": torch.full((5,), torch.nan)})
    with pytest.raises(UpdateWrongShape):
        encode(WEIGHTS | {"0.bias": torch.zeros(5, dtype=torch.float64)})


def test_too_large_update_is_refused_before_parsing() -> None:
    with pytest.raises(UpdateTooLarge):
        decode(b"\xff" * (expected_size(SPEC) + 1), SPEC)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_update_with_nan_or_infinity_is_refused(value: float) -> None:
    bad = {name: tensor.numpy().copy() for name, tensor in WEIGHTS.items()}
    bad["2.weight"][1, 2] = value
    with pytest.raises(UpdateNotFinite, match=r"2\.weight"):
        decode(write_tensors(bad), SPEC)


@pytest.mark.parametrize("sign", [1, -1])
def test_parameters_have_a_largest_magnitude_both_ways(sign: int) -> None:
    def changed(value: float) -> dict[str, torch.Tensor]:
        return WEIGHTS | {"2.weight": WEIGHTS["2.weight"].index_fill(1, torch.tensor([3]), sign * value)}

    assert decode(encode(changed(MAX_PARAMETER)), SPEC)["2.weight"][0, 3] == sign * MAX_PARAMETER
    above = changed(np.nextafter(np.float32(MAX_PARAMETER), np.float32(np.inf)).item())
    with pytest.raises(UpdateOutOfRange, match=r"2\.weight.*lower learning rate"):
        encode(above)
    with pytest.raises(UpdateOutOfRange, match=r"2\.weight.*lower learning rate"):
        decode(write_tensors({name: value.numpy() for name, value in above.items()}), SPEC)


@pytest.mark.parametrize(
    "change",
    [
        {"0.bias": np.zeros(6, np.float32)},
        {"0.bias": np.zeros((1, 5), np.float32)},
        {"0.bias": np.zeros(5, np.float64)},
        {"0.weight": WEIGHTS["0.weight"].numpy().T},
    ],
)
def test_update_of_another_shape_or_type_is_refused(change: dict) -> None:
    with pytest.raises(UpdateWrongShape):
        decode(write_tensors({name: value.numpy() for name, value in WEIGHTS.items()} | change), SPEC)


def _renamed(header: dict, body: bytes) -> bytes:
    return join({("evil" if name == "0.bias" else name): entry for name, entry in header.items()}, body)


def _overlapping(header: dict, body: bytes) -> bytes:
    header["2.bias"]["data_offsets"] = [0, 12]
    return join(header, body)


def _hole(header: dict, body: bytes) -> bytes:
    return join(header, body + b"\0" * 8)


def _gap_in_front(header: dict, body: bytes) -> bytes:
    for entry in header.values():
        entry["data_offsets"] = [at + 8 for at in entry["data_offsets"]]
    return join(header, b"\0" * 8 + body)


def _repeated(header: dict, body: bytes) -> bytes:
    text = json.dumps(header)
    return join((text[:-1] + ', "0.bias": ' + json.dumps(header["0.bias"]) + "}").encode(), body)


def _entry(field: str, value: object) -> Callable[[dict, bytes], bytes]:
    def change(header: dict, body: bytes) -> bytes:
        header["0.bias"][field] = value
        return join(header, body)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        _renamed,
        _overlapping,
        _hole,
        _gap_in_front,
        _repeated,
        _entry("dtype", "BF16"),
        _entry("dtype", ["F32"]),
        _entry("shape", [-5]),
        _entry("shape", [5.0]),
        _entry("shape", [True]),
        _entry("shape", [2**64, 0]),
        _entry("shape", [1] * 9),
        _entry("shape", "5"),
        _entry("data_offsets", [20, 0]),
        _entry("data_offsets", [0]),
        _entry("data_offsets", [0, 2**62]),
        lambda header, body: join({}, body),
        lambda header, body: join([], body),
        lambda header, body: join(b"[" * 1500, body),
        lambda header, body: join(b'{"a":' + b"9" * 2000 + b"}", body),
        lambda header, body: join(b"\xff\xfe", body),
        lambda header, body: join({**header, "__metadata__": {"a": 1}}, body),
        lambda header, body: join({**header, "__metadata__": "a"}, body),
        lambda header, body: (2**63).to_bytes(8, "little") + body,
        lambda header, body: b"\x80\x04K\x01.",
        lambda header, body: b"",
    ],
)
def test_malformed_update_is_refused(damage: Callable[[dict, bytes], bytes]) -> None:
    with pytest.raises(UpdateMalformed):
        decode(damage(*split(DATA)), SPEC)


def test_random_damage_ends_in_a_reported_error_or_finite_weights() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        data = bytearray(DATA)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data) if rng.random() < 0.5 else 400)] = rng.randrange(256)
        cut = rng.randrange(len(data)) if rng.random() < 0.2 else len(data)
        try:
            weights = decode(bytes(data[:cut]), SPEC)
        except FedCoinError:
            continue
        assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_evaluation_set_round_trip() -> None:
    data = encode_evaluation_set(X, Y)
    x, y = decode_evaluation_set(data, SPEC)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    assert encode_evaluation_set(x, y) == data


@pytest.mark.parametrize(
    ("tensors", "error"),
    [
        ({"x": X.numpy()}, EvaluationSetMalformed),
        ({"x": X.numpy(), "y": Y.numpy(), "z": Y.numpy()}, EvaluationSetMalformed),
        ({"x": X.numpy(), "y": Y.numpy().astype(np.int32)}, EvaluationSetMalformed),
        ({"x": X.numpy().astype(np.float64), "y": Y.numpy()}, EvaluationSetMalformed),
        ({"x": X.numpy()[:6], "y": Y.numpy()}, EvaluationSetMalformed),
        ({"x": X.numpy()[:, :5], "y": Y.numpy()}, EvaluationSetMalformed),
        ({"x": X.numpy()[:0], "y": Y.numpy()[:0]}, EvaluationSetMalformed),
        ({"x": X.numpy(), "y": Y.numpy()[:, None]}, EvaluationSetMalformed),
        ({"x": X.numpy() * np.float32(np.nan), "y": Y.numpy()}, EvaluationSetNotFinite),
        ({"x": X.numpy(), "y": Y.numpy() + 1}, EvaluationSetLabelOutOfRange),
        ({"x": X.numpy(), "y": Y.numpy() - 1}, EvaluationSetLabelOutOfRange),
    ],
)
def test_bad_evaluation_set_is_refused(tensors: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode_evaluation_set(write_tensors(tensors), SPEC)


@pytest.mark.parametrize("sign", [1, -1])
def test_features_have_a_largest_magnitude_both_ways(sign: int) -> None:
    x = X.clone()
    x[4, 2] = sign * MAX_FEATURE
    assert torch.equal(decode_evaluation_set(encode_evaluation_set(x, Y), SPEC)[0], x)
    x[4, 2] *= 1 + 2**-20
    with pytest.raises(EvaluationSetOutOfRange, match="scale"):
        encode_evaluation_set(x, Y)
    with pytest.raises(EvaluationSetOutOfRange, match="scale"):
        decode_evaluation_set(write_tensors({"x": x.numpy(), "y": Y.numpy()}), SPEC)


def test_large_evaluation_set_is_refused_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_evaluation_set(X, Y)
    monkeypatch.setattr("fedcoin.learning.evaluation_set.MAX_EVALUATION_BYTES", len(data) - 1)
    with pytest.raises(EvaluationSetTooLarge):
        decode_evaluation_set(data, SPEC)
    with pytest.raises(EvaluationSetTooLarge):
        encode_evaluation_set(X, Y)


def test_encode_evaluation_set_refuses_bad_tensors() -> None:
    for x, y in ((X.double(), Y), (X, Y.int()), (X[:3], Y), (X[:0], Y[:0])):
        with pytest.raises(EvaluationSetMalformed):
            encode_evaluation_set(x, y)
    with pytest.raises(EvaluationSetNotFinite):
        encode_evaluation_set(X / 0, Y)
