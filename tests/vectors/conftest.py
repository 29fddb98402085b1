"""The committed example files, and the tools that write them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="session")
def load():
    """Reads one file of proto/vectors."""

    def read(name: str) -> dict[str, Any]:
        return json.loads((ROOT / "proto" / "vectors" / f"{name}.json").read_text(encoding="utf-8"))

    return read


@pytest.fixture(scope="session")
def from_json():
    """A value of a layout from its JSON."""
    from vectorlib import json_values

    return json_values.from_json


@pytest.fixture(scope="session")
def code_of():
    """The code of the error that a call raises; None if it raises none."""
    from fedcoin.core.errors import FedCoinError

    def code(call, *arguments) -> str | None:
        try:
            call(*arguments)
        except FedCoinError as error:
            return error.code
        return None

    return code
