"""The walk of README.md, every program started by hand; a late miner, a killed miner, and what people look at."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(290)]


def new_key(by_hand: Any, name: str) -> Any:
    return by_hand.ask("keys", "new", f"{name}.json")


def test_the_walk_of_the_readme(by_hand: Any, until: Callable[..., Any]) -> None:
    names = ("alpha", "beta", "gamma", "zeta", "server", "requester")
    keys = {name: new_key(by_hand, name) for name in names}
    assert all(key["encrypted"] for key in keys.values())
    clients = [new_key(by_hand, f"client-{number}")["address"] for number in range(3)]
    supply = 5000 * 10**8 + 10**8 + 3 * 10 * 10**8  # and the bonds of the three first miners
    made = by_hand.ask(
        *("genesis", "genesis.json", "--name", "village", "--difficulty", "0.004", "--audit-interval", 1000),
        *("--miner", keys["alpha"]["public_key"], "--miner", keys["beta"]["public_key"], "--miner", "gamma.json"),
        *("--allocate", f"{keys['requester']['address']}=5000", "--allocate", f"{keys['zeta']['address']}=1"),
    )
    assert made["supply"] == supply

    def miner(name: str, *more: object, listen: str = "127.0.0.1:0") -> Any:
        words = ("--genesis", "genesis.json", "--key", f"{name}.json", "--data", f"{name}-data", *more)
        return by_hand.start("fedcoin-miner", *words, name=name, listen=listen)

    alpha = miner("alpha")
    beta = miner("beta", "--peer", alpha.address)
    gamma = miner("gamma", "--peer", alpha.address)
    known = ("--miner", alpha.address, "--miner", beta.address)
    server = by_hand.start(
        *("fedcoin-server", "--genesis", "genesis.json", "--key", "server.json", "--data", "server-data", *known),
        name="server",
    )
    hosted = [word for number in range(3) for word in ("--key", f"client-{number}.json")]
    by_hand.start(
        *("fedcoin-client", "--genesis", "genesis.json", "--server", server.address, *known, *hosted),
        *("--dataset", "digits", "--shares", 3, "--types", 3),
        name="clients",
    )
    request = by_hand.begin(
        *("fedcoin", "request", "--genesis", "genesis.json", "--key", "requester.json", "--server", server.address),
        *(*known, "--budget", 100, "--rounds", 2, "--model", "softmax", "--min-clients", 3),
        *("--out", "model.safetensors", "--bill", "bill.json", "--json"),
        name="request",
    )
    # A miner is killed while the order runs, and comes back with what it had.
    until(lambda: "deposit sent" in request.text(), 120, request.text)
    gamma.kill()
    gamma = miner("gamma", "--peer", alpha.address, listen=gamma.address)
    assert request.process.wait(200) == 0, request.text()
    assert (by_hand.folder / "model.safetensors").stat().st_size > 1000

    # A fourth miner, with an empty folder, reaches the same chain.
    zeta = miner("zeta", "--peer", beta.address, "--no-mine")
    nodes = [alpha, beta, gamma, zeta]

    def stands() -> list[tuple[Any, ...]]:
        found = [by_hand.ask("chain", "--node", node.address)["status"] for node in nodes]
        return [(status["height"], status["tip"], status["state_root"]) for status in found]

    until(lambda: len(set(stands())) == 1, 60, lambda: str(stands()))
    blocks = by_hand.ask("chain", "--node", zeta.address)["blocks"]
    settled = [row["height"] for row in blocks if row["kind"] == "task"]
    assert len(settled) == 2

    for height in settled:
        verdict = by_hand.ask("audit", height, "--node", zeta.address)
        assert verdict["holds"], verdict["reasons"]
        assert all(client["paid"] == client["due"] for client in verdict["clients"])
    audit_block = next(row["height"] for row in blocks if row["kind"] == "audit")
    refused = by_hand.tool("audit", audit_block, "--node", alpha.address, ok=False)
    assert refused.returncode == 1
    assert "error [NOT_A_SETTLEMENT]" in refused.stderr

    # Any two nodes tell the same balances, and clients can spend what they earned.
    for address in clients:
        told = {by_hand.ask("balance", address, "--node", node.address)["balance"] for node in nodes}
        assert len(told) == 1
    earned = by_hand.ask("balance", "--key", "client-0.json", "--node", alpha.address)["balance"]
    sent = by_hand.ask(
        "send", clients[1], "0.5", "--key", "client-0.json", "--node", alpha.address, "--wait", 1, "--fee", "0.001"
    )
    left = by_hand.ask("balance", "--key", "client-0.json", "--node", alpha.address)["balance"]
    assert left == earned - 50_000_000 - 100_000
    assert by_hand.ask("tx", sent["transaction"], "--node", alpha.address)["state"] == "confirmed"
    entries = by_hand.ask("history", clients[0], "--node", alpha.address)["entries"]
    assert entries[0]["amount"] < 0
    twice = by_hand.tool("send", clients[1], "4999", "--key", "client-0.json", "--node", alpha.address, ok=False)
    assert twice.returncode == 1
    assert "error [INSUFFICIENT_FUNDS]" in twice.stderr

    # The miners' bonds; one leaves, and will get its own back many blocks later.
    bonds = by_hand.ask("miners", "--node", beta.address)
    assert [(item["standing"], item["bond"]) for item in bonds] == [("registered", 10 * 10**8)] * 3
    assert by_hand.ask("frauds", "--node", beta.address) == []
    at_alpha = ("--node", alpha.address, "--wait", 1)
    by_hand.ask("send", keys["gamma"]["address"], "0.1", "--key", "requester.json", *at_alpha)
    by_hand.ask("leave", "--key", "gamma.json", *at_alpha)
    left = {item["public_key"]: item["standing"] for item in by_hand.ask("miners", "--node", alpha.address)}
    assert left[keys["gamma"]["public_key"]] == "leaving"

    assert alpha.terminate() == 0
    assert server.terminate() == 0


def test_two_miners_cannot_share_a_folder_and_a_changed_genesis_is_refused(by_hand: Any) -> None:
    keys = [new_key(by_hand, name) for name in ("alpha", "beta")]
    by_hand.tool(
        *("genesis", "genesis.json", "--miner", "alpha.json", "--miner", "beta.json"),
        *("--allocate", f"{keys[0]['address']}=1"),
    )
    words = ("--genesis", "genesis.json", "--key", "alpha.json", "--data", "data")
    by_hand.start("fedcoin-miner", *words, name="first")
    second = by_hand.begin("fedcoin-miner", *words, "--listen", "127.0.0.1:0", name="second")
    assert second.process.wait(60) == 1
    assert "error [DATA_FOLDER_IN_USE]" in second.text()
    assert "Traceback" not in second.text()

    text = (by_hand.folder / "genesis.json").read_text()
    (by_hand.folder / "changed.json").write_text(text.replace('"fedcoin"', '"fedcoins"'))
    third = by_hand.begin(
        *("fedcoin-miner", "--genesis", "changed.json", "--key", "beta.json", "--data", "other"),
        *("--listen", "127.0.0.1:0"),
        name="third",
    )
    assert third.process.wait(60) == 1
    assert "error [WRONG_GENESIS]" in third.text()
