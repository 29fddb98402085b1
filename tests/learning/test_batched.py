"""Forward passes of several models in fixed shapes against each model's own module."""

from __future__ import annotations

import pytest
import torch

from fedcoin.core.model import ModelSpec
from fedcoin.learning import batched
from fedcoin.learning.architecture import trace_layers
from fedcoin.learning.batched import BatchedLayers, FirstLayer, first_layer_bytes, working_bytes
from fedcoin.learning.models import build, initial_weights, load_weights
from tests.support.small_games import POOL_FIRST, SPECS

MODELS, BLOCK = 3, 16


def parameters_of(spec: ModelSpec) -> list[tuple[torch.Tensor, torch.Tensor]]:
    tensors = [list(initial_weights(spec, seed).values()) for seed in range(MODELS)]
    stacked = [torch.stack(parts) for parts in zip(*tensors, strict=True)]
    return list(zip(stacked[::2], stacked[1::2], strict=True))


def module_logits(spec: ModelSpec, x: torch.Tensor) -> torch.Tensor:
    module, logits = build(spec), []
    for seed in range(MODELS):
        load_weights(module, initial_weights(spec, seed))
        logits.append(module(x).T)
    return torch.stack(logits).detach()


@pytest.mark.parametrize("in_tiles", [False, True], ids=["at once", "in tiles"])
@pytest.mark.parametrize("spec", [*SPECS.values(), POOL_FIRST], ids=[*SPECS, "pool first"])
def test_shared_samples_through_every_model(spec: ModelSpec, in_tiles: bool) -> None:
    x = torch.randn(BLOCK, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    steps = trace_layers(spec)
    layers = BatchedLayers(steps, MODELS, BLOCK, torch.device("cpu"), shared=True, in_tiles=in_tiles)
    values = x.movedim(0, -1)[None].clone()
    logits, _ = layers.run(parameters_of(spec), values)
    torch.testing.assert_close(logits, module_logits(spec, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bytes_of_a_tile", [1, 20_000, 40_000])
@pytest.mark.parametrize("name", ["cnn", "strides and padding"])
def test_convolutions_in_tiles_of_rows(name: str, bytes_of_a_tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "_TILE", bytes_of_a_tile)
    spec = SPECS[name]
    x = torch.randn(BLOCK, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    layers = BatchedLayers(trace_layers(spec), MODELS, BLOCK, torch.device("cpu"), shared=True)
    rows = [(p.columns.shape[4], p.step.output_shape[1]) for p in layers._places if p.columns is not None]
    assert any(tile < height for tile, height in rows)
    logits, _ = layers.run(parameters_of(spec), x.movedim(0, -1)[None].clone())
    torch.testing.assert_close(logits, module_logits(spec, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_layers_after_the_first_carry_a_scale_up_to_a_tanh(name: str) -> None:
    spec = SPECS[name]
    x = torch.randn(BLOCK, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    steps, parameters = trace_layers(spec), parameters_of(spec)
    first = FirstLayer(steps[0], BLOCK, torch.device("cpu"))
    values = torch.empty((MODELS, *steps[0].output_shape, BLOCK))
    columns = first.columns(x)
    for weight, bias, out in zip(*parameters[0], values, strict=True):
        first.apply(weight, bias, columns, out)
    scale = torch.tensor([0.25, 3.0, 17.0])
    values *= scale.view(-1, *[1] * (values.dim() - 1))
    scaled, tanh_seen = [], False
    for step in steps[1:]:
        tanh_seen |= step.layer.kind.name == "TANH"
        if step.weight is not None:
            weight, bias = parameters[1 + len(scaled)]
            scaled.append((weight, bias if tanh_seen else bias * scale[:, None]))
    logits, carried = BatchedLayers(steps[1:], MODELS, BLOCK, torch.device("cpu")).run(scaled, values, scale)
    assert carried == (not tanh_seen)
    if carried:
        logits = logits / scale[:, None, None]
    torch.testing.assert_close(logits, module_logits(spec, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [SPECS["cnn"], SPECS["strides and padding"], SPECS["mlp"], POOL_FIRST])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("device", ["cpu", "meta"])  # meta: as every device but the CPU
def test_bytes_are_known_before_they_are_taken(spec: ModelSpec, shared: bool, device: str) -> None:
    steps = trace_layers(spec)
    layers = BatchedLayers(steps, MODELS, BLOCK, torch.device(device), shared)
    buffers = [getattr(p, n) for p in layers._places for n in ("padded", "columns", "row_maxima", "output")]
    assert sum(4 * b.numel() for b in buffers if b is not None) == working_bytes(
        steps, MODELS, BLOCK, torch.device(device), shared
    )


def test_bytes_of_a_first_layer_cover_its_buffers() -> None:
    step = trace_layers(SPECS["strides and padding"])[0]
    first = FirstLayer(step, BLOCK, torch.device("cpu"))
    buffers = [first._samples, first._place.padded, first._place.columns]
    assert sum(4 * b.numel() for b in buffers if b is not None) <= first_layer_bytes(step, BLOCK)


def test_a_short_block_is_filled_with_zeros() -> None:
    first = FirstLayer(trace_layers(SPECS["mlp"])[0], BLOCK, torch.device("cpu"))
    first.columns(torch.ones(BLOCK, 12))
    columns = first.columns(torch.ones(3, 12))
    assert columns[:, :3].eq(1).all()
    assert columns[:, 3:].eq(0).all()
