"""A network in which everybody shows a certificate, made with tools/make_certs.py as README.md says."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(290)]

TOOL = Path(__file__).resolve().parents[2] / "tools" / "make_certs.py"


def make(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, str(TOOL), *words], cwd=folder, check=True, capture_output=True, timeout=60)


def test_an_order_in_a_network_with_mutual_tls(by_hand: Any, until: Callable[..., Any]) -> None:
    make(by_hand.folder, "ca")
    for name in ("alpha", "beta", "server", "clients"):
        make(by_hand.folder, "server", name, "--ip", "127.0.0.1")
    make(by_hand.folder, "client", "wallet")

    def tls(name: str) -> tuple[str, ...]:
        return "--tls-ca", "certs/ca.pem", "--tls-cert", f"certs/{name}.pem", "--tls-key", f"certs/{name}.key"

    keys = {
        name: by_hand.ask("keys", "new", f"{name}.json")
        for name in ("alpha", "beta", "server", "requester", "c0", "c1")
    }
    by_hand.tool(
        *("genesis", "genesis.json", "--difficulty", "0.02", "--audit-interval", 1000),
        *("--miner", "alpha.json", "--miner", "beta.json", "--allocate", f"{keys['requester']['address']}=100"),
    )

    def miner(name: str, *more: object) -> Any:
        words = ("--genesis", "genesis.json", "--key", f"{name}.json", "--data", f"{name}-data", "--threads", 1)
        return by_hand.start("fedcoin-miner", *words, *tls(name), *more, name=name)

    alpha = miner("alpha")
    beta = miner("beta", "--peer", alpha.address)
    known = ("--genesis", "genesis.json", "--miner", alpha.address, "--miner", beta.address, "--threads", 1)
    server = by_hand.start(
        *("fedcoin-server", "--key", "server.json", "--data", "server-data", *known, *tls("server")), name="server"
    )
    by_hand.start(
        *("fedcoin-client", "--server", server.address, *known, "--key", "c0.json", "--key", "c1.json"),
        *("--dataset", "digits", "--shares", 2, "--types", 3, "--samples", 40, *tls("clients")),
        name="clients",
    )

    def bought() -> bool:
        """The server's first answer waits for its worker, which a busy machine is slow to start: asked again then."""
        done = by_hand.tool(
            *("request", "--genesis", "genesis.json", "--key", "requester.json", "--server", server.address),
            *("--miner", alpha.address, "--budget", 10, "--rounds", 1, "--model", "softmax", "--min-clients", 2),
            *("--evaluation-samples", 60, "--out", "model.safetensors", *tls("wallet")),
            ok=False,
        )
        assert done.returncode == 0 or "error [PEER_TIMEOUT]" in done.stderr, done.stderr
        return bool(done.returncode == 0)

    until(bought, 240)
    assert (by_hand.folder / "model.safetensors").stat().st_size > 1000

    # Without a certificate of the network nobody gets a word out of a node.
    told = by_hand.ask("chain", "--node", beta.address, *tls("wallet"))["status"]
    assert told["height"] >= 1
    plain = by_hand.tool("chain", "--node", beta.address, ok=False)
    assert plain.returncode == 1
    nameless = by_hand.tool("chain", "--node", beta.address, "--tls-ca", "certs/ca.pem", ok=False)
    assert "error [TLS_HANDSHAKE_FAILED]" in nameless.stderr
