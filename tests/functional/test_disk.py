"""Damaged, full and failing disks under real miners: found, told, repaired; nothing is lost or signed twice."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedcoin.core.errors import FedCoinError
from fedcoin.rpc.miner_client import MinerClient
from tests.support.damage import KINDS
from tests.support.namespaces import SmallDisk, why_not
from tests.support.payments import Payments
from tests.support.town import MINERS, Town, build_town

LONG = bool(os.environ.get("FAULTS_LONG"))
DAMAGE = list(KINDS) if LONG else ["a flipped bit in the log", "flipped bits in tables"]

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def town(programs: Any) -> Iterator[Town]:
    built = build_town(programs, MINERS)
    yield built
    for running in built.running.values():
        assert "Traceback" not in running.text()


@pytest.fixture(autouse=True)
def nothing_is_lost(town: Town, until: Callable[..., Any]) -> Iterator[None]:
    yield
    until(lambda: len(town.standings()) == 1, 60, lambda: str(town.standings()))
    town.check_money()
    signed = {(block.header.winner, block.header.height) for name in MINERS for block in town.blocks(name)}
    assert len(signed) == len(town.blocks()), "nobody has signed two blocks of one height"


def height(town: Town, name: str = "m0") -> int:
    return town.patiently(name, lambda client: client.status()).height


def grow(town: Town, until: Callable[..., Any], blocks: int) -> None:
    """Waits until m0's chain is longer; transfers must be under way."""
    goal = height(town) + blocks
    until(lambda: height(town) >= goal, 60, town.running["m0"].text)


async def read_all(client: MinerClient) -> int:
    return len([block async for block in client.blocks_after([(await client.status()).chain_id], 10_000)])


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_database_is_found_set_aside_and_replaced(
    town: Town, until: Callable[..., Any], row: Callable[[str], None], kind: str
) -> None:
    miner = town.running["m2"]
    data = town.folder / "m2-data"
    with Payments(town) as payments:
        grow(town, until, 2)
        if "log" not in kind:
            town.restart("m2")  # moves what the log holds into tables
            grow(town, until, 1)
        town.running["m2"].kill()
        folders = len(list(data.glob("damaged-*")))
        KINDS[kind](data)
        os.truncate(miner.log, 0)
        began = time.time()
        town.launch("m2")
        town.ready("m2")
        for _ in range(2):
            try:
                town.patiently("m2", read_all)
            except FedCoinError:  # met at work: the node ends, and its next start repairs it
                assert town.running["m2"].process.wait(60) == 1
                assert "error [STORE_CORRUPT]" in town.running["m2"].text()
                town.launch("m2")
                town.ready("m2")
        until(lambda: height(town, "m2") >= height(town), 150, town.running["m2"].text)
        lasted = time.time() - began
    text = town.running["m2"].text()
    assert "[STORE_CORRUPT]" in text
    aside = sorted(data.glob("damaged-*"))
    assert len(aside) == folders + 1
    assert any(aside[-1].iterdir()), "moved aside, not removed"
    until(lambda: not payments.missing("m2"), 60, town.running["m2"].text)
    told = next(line for line in text.splitlines() if "[STORE_CORRUPT]" in line).partition("[STORE_CORRUPT] ")[2]
    read_back = (
        text.partition(" blocks were read back")[0].rpartition(" ")[2] if "blocks were read back" in text else "0"
    )
    row(f'{kind}: "{told[:90]}…"; {read_back} blocks read back, at its peers\' tip {lasted:.1f} s after its start')


def test_a_full_disk_stops_the_node_and_room_lets_it_go_on(
    town: Town, until: Callable[..., Any], row: Callable[[str], None]
) -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    disk = SmallDisk(town.folder / "disk", 16)
    try:
        town.running["m1"].terminate()
        town.around["m1"] = disk.around
        town.more["m1"] = ("--data", str(town.folder / "disk" / "m1-data"))
        os.truncate(town.running["m1"].log, 0)
        town.launch("m1")
        town.ready("m1")
        with Payments(town) as payments:
            until(lambda: height(town, "m1") >= height(town) > 0, 60, town.running["m1"].text)
            grow(town, until, 1)
            disk.fill(leave=20_000)
            assert town.running["m1"].process.wait(60) == 1, town.running["m1"].text()
            assert "error [STORE_UNAVAILABLE]" in town.running["m1"].text()
            # Without room it does not start either, and says so.
            town.launch("m1")
            assert town.running["m1"].process.wait(60) == 1, town.running["m1"].text()
            assert town.running["m1"].text().count("error [STORE_UNAVAILABLE]") == 2
            disk.free()
            town.launch("m1")
            town.ready("m1")
            until(lambda: height(town, "m1") >= height(town), 150, town.running["m1"].text)
        assert "STORE_CORRUPT" not in town.running["m1"].text()
        until(lambda: not payments.missing("m1"), 60, town.running["m1"].text)
        told = town.running["m1"].text().partition("error [STORE_UNAVAILABLE]: ")[2].splitlines()[0]
        row(f'stopped with status 1, "{told[-110:]}"; went on when there was room, nothing lost')
    finally:
        town.running["m1"].kill()
        town.around.pop("m1", None)
        town.more.pop("m1", None)
        disk.close()
        town.launch("m1")
        town.ready("m1")


@pytest.mark.skipif(not LONG, reason="its blocks hold the others up for half a minute each: make faults")
def test_a_miner_without_free_file_handles_ends_or_goes_on_but_loses_nothing(
    town: Town, until: Callable[..., Any], row: Callable[[str], None]
) -> None:
    miner = town.running["m0"]
    handles = len(os.listdir(f"/proc/{miner.process.pid}/fd"))
    with Payments(town) as payments:
        grow(town, until, 1)
        os.truncate(miner.log, 0)
        normal = resource.prlimit(miner.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(miner.process.pid, resource.RLIMIT_NOFILE, (handles - 2, normal[1]))
        reached = height(town, "m1")
        until(lambda: height(town, "m1") >= reached + 2, 180, town.running["m1"].text)
        ended = miner.process.poll()
        if ended is None:
            resource.prlimit(miner.process.pid, resource.RLIMIT_NOFILE, normal)
        else:
            assert ended == 1
            assert "error [STORE_UNAVAILABLE]" in miner.text()
            town.launch("m0")
            town.ready("m0")
        until(lambda: height(town) >= height(town, "m1"), 60, town.running["m0"].text)
    until(lambda: not payments.missing("m0"), 60, town.running["m0"].text)
    row(
        "no file handle left: "
        + ("it went on when there were some" if ended is None else "STORE_UNAVAILABLE, status 1")
    )
