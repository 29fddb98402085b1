"""`fedcoin miners` and `fedcoin frauds` against a node that answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from fedcoin.cli.main import main
from fedcoin.core.keys import address_of, format_address
from fedcoin.ledger.miners import MinerStanding
from fedcoin.rpc import views
from fedcoin.rpc.server import serve
from tests.support.rpc_values import STATUS, address, h, key

MINERS = [
    views.MinerInfo(b"\x02" + bytes([1]) * 32, "", MinerStanding.REGISTERED, 0, True, 0, 10**9),
    views.MinerInfo(b"\x02" + bytes([2]) * 32, "quiet", MinerStanding.REGISTERED, 0, False, 7, 10**9),
    views.MinerInfo(b"\x02" + bytes([3]) * 32, "gone", MinerStanding.LEAVING, 31, False, 8, 1_050_000_000),
    views.MinerInfo(b"\x02" + bytes([4]) * 32, "forger", MinerStanding.CONVICTED, 32, False, 9, 0),
]
CASES = [
    views.FraudCaseInfo(h("a"), key("forger"), address("r"), h("order"), 30, 1030, False, (key("v1"), key("v2"))),
    views.FraudCaseInfo(h("b"), key("twice"), address("r"), b"", 31, 1031, True, ()),
]


class Registry:
    """A node of which only the registry matters."""

    async def status(self) -> views.NodeStatus:
        return STATUS

    async def miners(self, after: bytes, limit: int) -> Sequence[views.MinerInfo]:
        return [info for info in MINERS if info.public_key > after][:limit]

    async def fraud_cases(self, after: bytes, limit: int) -> Sequence[views.FraudCaseInfo]:
        return [info for info in sorted(CASES, key=lambda case: case.case_id) if info.case_id > after][:limit]


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """HOST:PORT of a node in a thread of its own."""
    started, stopped, place = threading.Event(), asyncio.Event(), SimpleNamespace()

    async def run() -> None:
        place.loop = asyncio.get_running_loop()
        server = await serve(Registry(), "127.0.0.1:0")
        place.address = server.address
        started.set()
        await stopped.wait()
        await server.stop(0)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(60)
    yield place.address
    place.loop.call_soon_threadsafe(stopped.set)
    thread.join()


def shown(node: str, *words: str) -> str:
    result = CliRunner().invoke(main, [*words, "--node", node])
    assert result.exit_code == 0, result.output
    return result.output


def words_of(text: str) -> str:
    """Without the lines of the table."""
    return " ".join(text.replace("│", " ").split())


def test_miners_are_listed_with_standing_and_bond(node: str) -> None:
    rows = [line for line in shown(node, "miners").splitlines() if "fdc1" in line]
    assert len(rows) == 4
    for row, info, words in zip(
        rows,
        MINERS,
        [
            "active 10 genesis",
            "quiet not heard 10 7",
            "gone leaving since block 31 10.5 8",
            "convicted since block 32 0",
        ],
        strict=True,
    ):
        assert format_address(address_of(info.public_key)) in row
        assert words in words_of(row)


def test_open_cases_are_listed_with_their_votes(node: str) -> None:
    output = words_of(shown(node, "frauds"))
    assert (
        f"{h('a').hex()[:12]}… {format_address(address_of(key('forger')))} {format_address(address('r'))} open 2 30"
        in output
    )
    assert f"{format_address(address_of(key('twice')))} {format_address(address('r'))} convicted 0 31" in output


def test_both_print_json(node: str) -> None:
    miners = json.loads(shown(node, "miners", "--json"))
    assert [item["bond"] for item in miners] == [info.bond for info in MINERS]
    cases = json.loads(shown(node, "frauds", "--json", "--limit", "1"))
    assert len(cases) == 1
    assert len(json.loads(shown(node, "frauds", "--json"))) == 2
