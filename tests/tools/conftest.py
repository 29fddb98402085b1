"""The benchmark's parts, importable; and one tiny workload trained once."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests share the machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where trained clients are kept."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="session")
def problem(cache):
    """The tiny workload: 4 clients, 200 made-up images."""
    from benchlib.problem import prepare_problem
    from benchlib.workloads import WORKLOADS

    return prepare_problem(WORKLOADS["tiny"], cache, None, 0, lambda text: None)
