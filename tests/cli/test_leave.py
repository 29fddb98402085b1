"""`fedcoin leave`, `register-miner`, `tx` and `miners` against a real miner's service."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from fedcoin.cli.main import main
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.transaction import MinerLeave, MinerRegistration
from fedcoin.node.key_file import write_key_file
from fedcoin.rpc.server import serve
from tests.support.miner_parts import Parts
from tests.support.network import MINERS, REQUESTER, make_genesis

BOND = 5 * UNITS_PER_FDC


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Any]:
    """A miner in a thread of its own, with `address` and `posap`; it does not mine."""
    started, stopped, place = threading.Event(), asyncio.Event(), SimpleNamespace()

    async def run() -> None:
        place.loop = asyncio.get_running_loop()
        parts = Parts(tmp_path / "data", make_genesis(3, miner_bond=BOND))
        server = await serve(parts.service, "127.0.0.1:0")
        place.address, place.posap = server.address, parts.posap
        started.set()
        await stopped.wait()
        await server.stop(0)
        await parts.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(60)
    yield place
    place.loop.call_soon_threadsafe(stopped.set)
    thread.join()


def ask(node: Any, *words: object) -> Any:
    result = CliRunner().invoke(main, [*map(str, words), "--node", node.address, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_miner_leaves_and_another_registers(node: Any, tmp_path: Path) -> None:
    listed = ask(node, "miners")
    assert [(item["standing"], item["bond"]) for item in listed] == [("registered", BOND)] * 3
    for name, key in (("miner", MINERS[0]), ("user", REQUESTER)):
        write_key_file(tmp_path / f"{name}.json", key, None, plain=True)
    sent = ask(node, "leave", "--key", tmp_path / "miner.json")
    joined = ask(node, "register-miner", "--key", tmp_path / "user.json", "--name", "user")
    assert [transaction.body for transaction in node.posap.mempool.transactions()] == [
        MinerLeave(),
        MinerRegistration("user"),
    ]
    assert ask(node, "tx", sent["transaction"])["state"] == "pending"
    shown = CliRunner().invoke(main, ["tx", sent["transaction"], "--node", node.address])
    assert "leaves" in shown.output
    assert ask(node, "tx", joined["transaction"])["transaction"]["fee"] == 1
    assert ask(node, "frauds") == []
