"""`fedcoin localnet`: a whole network of real processes, from the deposit to the payouts."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(280)]

SMALL = ("localnet", "--miners", 2, "--clients", 3, "--types", 3, "--model", "softmax", "--difficulty", "0.004")


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that work in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in command and entry.name != str(os.getpid()):
                found.append(command)
    return found


def test_a_deposit_becomes_paid_clients_and_no_unit_is_lost(by_hand: Any) -> None:
    report_path = by_hand.folder / "report.json"
    by_hand.tool(*SMALL, "--rounds", 2, "--budget", "10.00000007", "--verify", "--report", report_path)
    report = json.loads(report_path.read_text())

    assert report["supply_now"] == report["supply_genesis"] == sum(row["balance"] for row in report["accounts"])
    heights = [row["height"] for row in report["blocks"]]
    assert heights == list(range(1, len(heights) + 1))
    tasks = [row for row in report["blocks"] if row["kind"] == "task"]
    assert len(tasks) == len(report["model_accuracy"]) == 2
    assert all(row["distance"] <= row["difficulty"] and row["time"] > 0 for row in report["blocks"])
    assert [audit["holds"] for audit in report["audits"]] == [True, True]

    by_role: dict[str, int] = {}
    for row in report["accounts"]:
        by_role[row["role"]] = by_role.get(row["role"], 0) + row["balance"]
    # 7 : 1 : 2 of 1000000007 units: 700000004.9, 100000000.7 and 200000001.4, by largest remainder.
    assert by_role["client"] == 700_000_005
    assert by_role["server"] == 100_000_001
    assert by_role.get("escrow", 0) == 0
    assert by_role["client"] == sum(row["paid"] for row in report["clients"])
    assert (
        by_role["client"] + by_role["server"] + by_role["miner"] + by_role["requester"] + by_role["bond"]
        == report["supply_genesis"]
    )
    assert all(row["paid"] > 0 for row in report["clients"] if row["shapley"] is not None and row["shapley"] > 0)
    assert {row["type"] for row in report["clients"]} == {"T0", "T1", "T2"}
    assert [row["emd"] for row in report["clients"]] == sorted(row["emd"] for row in report["clients"])
    assert len({(row["tip"], row["state_root"]) for row in report["nodes"]}) == 1
    assert report["wall_seconds"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_local_network(by_hand: Any, until: Callable[..., Any], number: signal.Signals) -> None:
    folder = by_hand.folder / "net"
    network = by_hand.begin("fedcoin", *SMALL, "--difficulty", "0.0002", "--data-dir", folder)
    until(lambda: "FL server listens" in network.text(), 120, network.text)
    assert len(processes_of(folder)) > 3
    os.kill(network.process.pid, number)
    status = network.process.wait(30)
    assert status == (-number if number == signal.SIGKILL else 130)
    until(lambda: not processes_of(folder), 30)


def test_a_failed_process_is_named_with_the_end_of_its_log(by_hand: Any) -> None:
    done = by_hand.tool(*SMALL, "--device", "cuda:99", "--data-dir", by_hand.folder / "net", ok=False)
    assert done.returncode == 1
    assert "error [PROCESS_FAILED]: miner-0 ended with status 1" in done.stderr
    assert "DEVICE_UNAVAILABLE" in done.stderr


def test_a_folder_with_something_in_it_is_refused(by_hand: Any) -> None:
    (by_hand.folder / "precious").write_text("x")
    done = by_hand.tool(*SMALL, "--data-dir", by_hand.folder, ok=False)
    assert done.returncode == 1
    assert "error [CONFIG_INVALID]" in done.stderr
