"""Architectures: what is built, and what is refused before anything is."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch

from fedcoin.core.errors import FedCoinError, ModelDoesNotFit, ModelTooLarge, UnknownModel
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.learning.models import (
    TORCHVISION_MODELS,
    activation_count,
    build,
    extract_weights,
    initial_weights,
    parameter_count,
    preset,
    tensor_shapes,
)

LINEAR = Layer(LayerKind.LINEAR, 10)


def layered(*layers: Layer, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> ModelSpec:
    return ModelSpec(ModelFamily.LAYERS, "test", shape, classes, layers)


@pytest.mark.parametrize("name", ["softmax", "mlp", "mlp-64", "mlp-128-64", "cnn"])
def test_preset_builds_and_its_declared_shapes_are_the_built_ones(name: str) -> None:
    spec = preset(name, (1, 8, 8), 10)
    module = build(spec)
    assert module(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    assert tensor_shapes(spec) == {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert parameter_count(spec) == sum(value.numel() for value in module.parameters())


def test_resnet18_has_its_running_statistics_but_no_counters_among_its_weights() -> None:
    spec = preset("torchvision:resnet18", (3, 32, 32), 10)
    names = tensor_shapes(spec)
    assert "bn1.running_var" in names
    assert not any("num_batches" in name for name in names)
    weights = initial_weights(spec, 1)
    assert list(weights) == list(names)
    assert parameter_count(spec) == 11_181_642 + 9_600
    assert build(spec)(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", sorted(TORCHVISION_MODELS - {"resnet18"}))
def test_every_allowed_torchvision_model_is_within_the_limits(name: str) -> None:
    spec = preset(f"torchvision:{name}", (3, 64, 64), 10)
    assert parameter_count(spec) > 0
    assert prod(spec.input_shape) < activation_count(spec)


def test_mlp_has_the_widths_of_its_name() -> None:
    assert [layer.size for layer in preset("mlp-128-64", (5,), 3).layers] == [128, 0, 64, 0, 3]
    assert preset("mlp", (5,), 3).layers == preset("mlp-64", (5,), 3).layers


def test_initial_weights_depend_on_the_seed_alone() -> None:
    spec = preset("mlp", (4,), 3)
    torch.manual_seed(1)
    first = initial_weights(spec, 5)
    before = torch.random.get_rng_state()
    again, other = initial_weights(spec, 5), initial_weights(spec, 6)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_extracted_weights_do_not_follow_the_module() -> None:
    module = build(preset("softmax", (4,), 3))
    weights = extract_weights(module)
    with torch.no_grad():
        module.get_parameter("0.bias").fill_(9)
    assert not (weights["0.bias"] == 9).any()


@pytest.mark.parametrize(
    "name", ["", "mpl", "mlp-", "mlp-0", "mlp-1e9", "torchvision:", "torchvision:inception_v3", "torchvision:os"]
)
def test_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownModel):
        preset(name, (3, 64, 64), 10)


CONV = Layer(LayerKind.CONV2D, 4, kernel=3, stride=1, padding=1)


@pytest.mark.parametrize(
    "spec",
    [
        layered(),
        layered(Layer(LayerKind.LINEAR, 9)),
        layered(LINEAR, Layer(LayerKind.RELU)),
        layered(*[Layer(LayerKind.RELU)] * 64, LINEAR),
        layered(LINEAR, shape=()),
        layered(LINEAR, shape=(8, 8)),
        layered(LINEAR, shape=(1, 0, 8)),
        layered(Layer(LayerKind.LINEAR, 1), classes=1),
        layered(Layer(LayerKind.LINEAR, 0), LINEAR),
        layered(replace(LINEAR, kernel=1)),
        layered(Layer(LayerKind.RELU, size=1), LINEAR),
        layered(replace(CONV, stride=0), LINEAR),
        layered(replace(CONV, kernel=0, padding=0), LINEAR),
        layered(replace(CONV, size=0), LINEAR),
        layered(replace(CONV, kernel=9, padding=0), LINEAR),
        layered(replace(CONV, padding=3), LINEAR),
        layered(CONV, LINEAR, shape=(64,)),
        layered(LINEAR, CONV, LINEAR),
        layered(Layer(LayerKind.MAX_POOL2D, kernel=2, stride=0), LINEAR),
        layered(Layer(LayerKind.MAX_POOL2D, size=1, kernel=2, stride=2), LINEAR),
        layered(Layer(LayerKind.MAX_POOL2D, kernel=9, stride=1), LINEAR),
        ModelSpec(ModelFamily.TORCHVISION, "resnet18", (1, 28, 28), 10),
        ModelSpec(ModelFamily.TORCHVISION, "resnet18", (3, 28, 28), 10, (LINEAR,)),
        ModelSpec(ModelFamily.TORCHVISION, "densenet121", (3, 2, 2), 10),
    ],
)
def test_layers_that_do_not_fit_are_refused(spec: ModelSpec) -> None:
    with pytest.raises(ModelDoesNotFit):
        build(spec)


@pytest.mark.parametrize(
    "spec",
    [
        layered(Layer(LayerKind.LINEAR, 2**32 - 1), LINEAR),
        layered(*[Layer(LayerKind.LINEAR, 4096)] * 8, LINEAR),
        layered(Layer(LayerKind.CONV2D, 1000, kernel=3, stride=1, padding=1), LINEAR, shape=(1, 512, 512)),
        layered(*[Layer(LayerKind.CONV2D, 64, kernel=63, stride=1, padding=31)] * 8, LINEAR, shape=(1, 64, 64)),
        layered(LINEAR, shape=(2**32 - 1, 2**32 - 1, 2**32 - 1)),
        ModelSpec(ModelFamily.TORCHVISION, "resnet18", (3, 4000, 4000), 10),
    ],
)
def test_too_large_architecture_is_refused_before_memory_is_taken(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcoin.learning.models._layer", lambda step: pytest.fail("a layer was built"))
    with pytest.raises(ModelTooLarge):
        build(spec)


def test_error_codes_are_distinct() -> None:
    kinds: list[type[FedCoinError]] = [ModelDoesNotFit, ModelTooLarge, UnknownModel]
    assert len({kind.code for kind in kinds}) == len(kinds)
