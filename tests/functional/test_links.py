"""Pauses, silence, partitions and odd clocks: real miners catch up and agree; and long ways to catch up."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedcoin.node.genesis_file import write_genesis
from fedcoin.rpc.miner_client import MinerClient
from tests.support.cables import Cables
from tests.support.long_chain import long_genesis, make_long_chain, write_data
from tests.support.namespaces import why_not
from tests.support.payments import Payments
from tests.support.town import KEYS, MINERS, Town, build_town, free_address, plan_town

LONG = bool(os.environ.get("FAULTS_LONG"))
PAUSE_SECONDS = 30
CHAIN_LENGTH = 1_200 if LONG else 150
DEPTH = 100

only_long = pytest.mark.skipif(not LONG, reason="takes a minute: make faults")

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]

# The node's own clock (node.miner.now_ms). gRPC makes deadlines of time.time and compares them with the system's clock.
_SKEWED = """import time
_time_ns = time.time_ns
time.time_ns = lambda: _time_ns() + ({seconds}) * 10**9
"""


@pytest.fixture(scope="module")
def town(programs: Any) -> Iterator[Town]:
    built = build_town(programs, MINERS)
    yield built
    for running in built.running.values():
        assert "Traceback" not in running.text()


def height(town: Town, name: str = "m0") -> int:
    return town.patiently(name, lambda client: client.status()).height


def agreed(town: Town, until: Callable[..., Any]) -> None:
    until(lambda: len(town.standings()) == 1, 90, lambda: str(town.standings()))
    town.check_money()


@only_long
def test_a_miner_that_stood_still_catches_up(town: Town, until: Callable[..., Any], row: Callable[[str], None]) -> None:
    with Payments(town) as payments:
        until(lambda: height(town) >= 1, 60, town.running["m0"].text)
        town.running["m2"].pause()
        began, before = time.monotonic(), height(town)
        until(lambda: time.monotonic() >= began + PAUSE_SECONDS and height(town) >= before + 2, 120)
        missed = height(town) - before
        town.running["m2"].resume()
        began = time.monotonic()
        until(lambda: height(town, "m2") >= height(town), 60, town.running["m2"].text)
        lasted = time.monotonic() - began
    agreed(town, until)
    until(lambda: not payments.missing("m2"), 60)
    row(f"stopped for {PAUSE_SECONDS} s or longer, {missed} blocks behind, caught up {lasted:.1f} s after SIGCONT")


def test_a_peer_that_never_answers_holds_nobody_up(
    town: Town, until: Callable[..., Any], row: Callable[[str], None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        town.more["m2"] = ("--peer", f"127.0.0.1:{silent.getsockname()[1]}")
        town.restart("m2")
        with Payments(town):
            goal = height(town) + 2
            until(lambda: min(height(town, name) for name in MINERS) >= goal, 90, town.running["m2"].text)
        began = time.monotonic()
        assert town.running["m2"].terminate() == 0
        lasted = time.monotonic() - began
    del town.more["m2"]
    town.launch("m2")
    town.ready("m2")
    agreed(town, until)
    row(f"the others and the miner that calls it went on; it stopped {lasted:.1f} s after SIGTERM")


@only_long
@pytest.mark.parametrize("seconds", [3_600, -3_600])
def test_a_clock_that_is_an_hour_off_harms_only_its_owner(
    town: Town, until: Callable[..., Any], row: Callable[[str], None], seconds: int
) -> None:
    folder = town.folder / f"clock{seconds}"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SKEWED.format(seconds=seconds))
    town.around["m2"] = ("env", f"PYTHONPATH={folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    os.truncate(town.running["m2"].log, 0)
    town.restart("m2")
    with Payments(town) as payments:
        goal = height(town) + 3
        until(lambda: min(height(town, name) for name in ("m0", "m1")) >= goal, 90, town.running["m0"].text)
        until(lambda: "clock" in town.running["m2"].text(), 60, town.running["m2"].text)
        told = next(line for line in town.running["m2"].text().splitlines() if "clock" in line)
        del town.around["m2"]
        town.restart("m2")
        until(lambda: height(town, "m2") >= height(town), 90, town.running["m2"].text)
    agreed(town, until)
    until(lambda: not payments.missing("m2"), 60)
    row(f"the others went on; it said: {told.partition('WARNING')[2].strip()[:110]}…")


def test_a_partition_heals(by_hand: Any, until: Callable[..., Any], row: Callable[[str], None]) -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    town, cables = plan_town(by_hand), Cables()
    try:
        for name, switch in (("m0", "left"), ("m1", "left"), ("m2", "right")):
            town.addresses[name], town.reached[name], town.around[name] = cables.plug(switch)
        for name in MINERS:
            town.launch(name)
        for name in MINERS:
            town.ready(name)
        # To the larger side only: what the other one takes while it is alone waits there.
        with Payments(town, ("m0", "m1")) as payments:
            until(lambda: min(height(town, name) for name in MINERS) >= 1, 90, town.running["m0"].text)
            cables.cut()
            began, behind = time.monotonic(), height(town, "m2")
            goal = height(town) + 3
            until(
                lambda: height(town) >= goal and time.monotonic() >= began + PAUSE_SECONDS, 120, town.running["m0"].text
            )
            assert height(town, "m2") <= behind + 1, "one of three has no quorum"
            missed = height(town) - height(town, "m2")
            cables.mend()
            began = time.monotonic()
            until(lambda: height(town, "m2") >= height(town), 90, town.running["m2"].text)
            lasted = time.monotonic() - began
        agreed(town, until)
        for name in MINERS:
            until(lambda name=name: not payments.missing(name), 60)
        row(f"2 of 3 went on, 1 stood; {missed} blocks apart, one tip {lasted:.1f} s after the cable was back; 0 lost")
    finally:
        by_hand.close()
        cables.close()


async def tip(client: MinerClient) -> tuple[int, bytes]:
    status = await client.status()
    return status.height, status.tip


def lonely(by_hand: Any, name: str, *peers: str) -> Any:
    """A miner that follows the prepared chain in its folder, if any."""
    more = [word for peer in peers for word in ("--peer", peer)]
    words = ("--genesis", "long.json", "--key", f"{name}.json", "--data", f"{name}-data", "--no-mine", *more)
    return by_hand.start("fedcoin-miner", *words, "--device", "cpu", "--threads", 1, name=name, listen=free_address())


def prepare(by_hand: Any) -> Town:
    """Key files, and a Town that only asks."""
    return plan_town(by_hand)


def test_a_long_way_to_catch_up(by_hand: Any, until: Callable[..., Any], row: Callable[[str], None]) -> None:
    town, file = prepare(by_hand), long_genesis()
    write_genesis(by_hand.folder / "long.json", file)
    blocks = make_long_chain(file, CHAIN_LENGTH)
    write_data(by_hand.folder / "m0-data", file, blocks)
    full = lonely(by_hand, "m0")
    late = lonely(by_hand, "m1", full.address)
    began = time.monotonic()
    town.addresses["m1"] = late.address
    # The last block's audit finds nobody who has its leaves: its miners exist in the preparation only.
    until(lambda: town.patiently("m1", tip)[0] >= CHAIN_LENGTH - 1, 240, late.text)
    lasted = time.monotonic() - began
    assert town.patiently("m1", tip)[1] in {block.id() for block in blocks[-2:]}
    assert KEYS["m1"].address, "the follower has a key of its own"
    row(f"{CHAIN_LENGTH} blocks over RPC in {lasted:.1f} s: {CHAIN_LENGTH / max(lasted, 0.1):.0f} blocks a second")


def test_a_reorganisation_of_a_hundred_blocks(
    by_hand: Any, until: Callable[..., Any], row: Callable[[str], None]
) -> None:
    town, file = prepare(by_hand), long_genesis()
    write_genesis(by_hand.folder / "long.json", file)
    short, longer = make_long_chain(file, DEPTH, seed=1), make_long_chain(file, DEPTH + 2, seed=2)
    assert short[0].id() != longer[0].id()
    write_data(by_hand.folder / "m0-data", file, longer)
    write_data(by_hand.folder / "m1-data", file, short)
    better = lonely(by_hand, "m0")
    follower = lonely(by_hand, "m1", better.address)
    began = time.monotonic()
    town.addresses["m1"] = follower.address
    until(lambda: town.patiently("m1", tip)[1] in {block.id() for block in longer[-2:]}, 120, follower.text)
    lasted = time.monotonic() - began
    until(lambda: follower.text().count("undone block") == DEPTH, 30, follower.text)
    here = town.patiently("m1", lambda client: client.status())
    assert here.state_root == longer[here.height - 1].header.state_root
    accounts = town.patiently("m1", lambda client: client.accounts(limit=1_000))
    assert sum(account.balance for account in accounts) == sum(share.amount for share in file.genesis.allocations)
    row(f"{DEPTH} blocks undone, {here.height} applied {lasted:.1f} s after the start; the other node's state root")
