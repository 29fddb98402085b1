"""How a miner is told to use a Ray cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedcoin.cli.miner import main
from fedcoin.core.errors import ConfigInvalid
from fedcoin.node.config import MinerConfig
from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.miner import _open_evaluator
from fedcoin.node.ray_evaluator import RayEvaluator


@pytest.fixture
def config(tmp_path: Path) -> MinerConfig:
    genesis = tmp_path / "genesis.json"
    genesis.touch()
    return MinerConfig(genesis, Path("key"))


def options(words: list[str], config: MinerConfig) -> dict[str, Any]:
    """What the command line makes of these words, the environment and the configuration file."""
    context = main.make_context("fedcoin-miner", ["--genesis", str(config.genesis), "--key", "key", *words])
    return {name: context.params[name] for name in ("evaluator", "ray_address", "ray_workers")}


def test_evaluator_is_the_one_that_was_asked_for(config: MinerConfig) -> None:
    assert type(_open_evaluator(config)) is EvaluatorProcess
    assert type(_open_evaluator(replace(config, evaluator="ray"))) is RayEvaluator


def test_settings_that_make_no_sense_are_named(config: MinerConfig) -> None:
    replace(config, evaluator="ray", ray_address="head:6379", ray_workers=2).check()
    for wrong, named in (
        ({"evaluator": "abacus"}, "abacus"),
        ({"evaluator": "ray", "ray_workers": -1}, "ray_workers"),
        ({"ray_workers": 2}, "ray_workers"),
        ({"ray_address": "head:6379"}, "ray_address"),
    ):
        with pytest.raises(ConfigInvalid, match=named):
            replace(config, **wrong).check()


def test_settings_come_from_flags_environment_and_file(
    config: MinerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {"evaluator": "ray", "ray_address": "head:6379", "ray_workers": 2}
    assert options([], config) == {"evaluator": "local", "ray_address": "", "ray_workers": 0}
    assert options(["--evaluator", "ray", "--ray-address", "head:6379", "--ray-workers", "2"], config) == expected
    file = tmp_path / "miner.toml"
    file.write_text('evaluator = "ray"\nray-address = "head:6379"\nray-workers = 2\n')
    assert options(["--config", str(file)], config) == expected
    for name, value in expected.items():
        monkeypatch.setenv(f"FEDCOIN_MINER_{name.upper()}", str(value))
    assert options([], config) == expected
