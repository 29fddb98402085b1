"""Fixtures for the tests of the store."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fedcoin.store.chain_store import ChainStore


def _load() -> ModuleType:
    name = "store_fake_chain"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("fake_chain.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def fake() -> ModuleType:
    """The module fake_chain.py beside this file."""
    return _load()


@pytest.fixture
def store(tmp_path: Path, fake: ModuleType) -> Iterator[ChainStore]:
    """An initialised store."""
    opened = ChainStore(tmp_path / "data", fake.CHAIN_ID, fake.DEPTH)
    opened.initialise(fake.GENESIS)
    yield opened
    opened.close()
