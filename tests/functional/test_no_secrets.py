"""A node that logs all it can, and is made to fail in every way at hand, tells nobody its key."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcoin.core.keys import PrivateKey
from fedcoin.node.key_file import write_key_file

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(290)]

SECRET = bytes.fromhex("c0ffee") + bytes(range(100, 129))
PASSPHRASE = "a passphrase for tests"

RUDE = """
import asyncio, sys, grpc
async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        for method in ("BlockService/PropagateBlock", "PeerService/Prove", "PeerService/Announce", "None/None",
                       "NodeService/GetStatus", "TransactionService/SubmitTransaction", "ShapleyService/SendEstimate"):
            for data in (b"", b"\\xff" * 40, b"\\x0a\\x03abc", bytes(100_000)):
                try:
                    await channel.unary_unary("/fedcoin.v1." + method)(data, timeout=20)
                except grpc.aio.AioRpcError as failure:
                    print(failure.code(), failure.details(), failure.trailing_metadata())
asyncio.run(main())
"""


def shapes(secret: bytes) -> list[bytes]:
    """How a key would look if it were written down: whole, or a good part of it."""
    number = int.from_bytes(secret, "big")
    whole = [secret, repr(secret)[2:-1].encode(), str(number).encode(), secret[::-1]]
    for text in (secret.hex(), base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode()):
        whole += [text.encode()[4:36], text.upper().encode()[4:36]]
    return [*whole, secret[4:20]]


def test_no_key_and_no_passphrase_in_logs_answers_or_the_data_folder(by_hand: Any, until: Callable[..., Any]) -> None:
    assert len(SECRET) == 32
    folder: Path = by_hand.folder
    key = PrivateKey(SECRET)
    plain = by_hand.ask("keys", "new", "other.json")
    write_key_file(folder / "miner.json", key, None, plain=True)
    by_hand.tool(
        *("genesis", "genesis.json", "--miner", key.public_key.hex(), "--miner", "other.json"),
        *("--allocate", f"{plain['address']}=5"),
    )
    words = ("--genesis", "genesis.json", "--key", "miner.json", "--log-level", "debug", "--threads", 1)
    miner = by_hand.start("fedcoin-miner", *words, "--data", "data", "--peer", "127.0.0.1:9", name="miner")
    rude = subprocess.run(
        [sys.executable, "-c", RUDE, miner.address],
        capture_output=True,
        check=True,
        timeout=120,
        env=by_hand.environment,
    )
    failing = {
        "folder": (*words, "--data", "data"),
        "tls": (*words, "--data", "data2", "--tls-cert", "miner.json", "--tls-key", "miner.json"),
    }
    (folder / "bent.json").write_text((folder / "miner.json").read_text()[:-30])
    wrong = json.loads((folder / "miner.json").read_text())
    wrong["public_key"] = plain["public_key"]
    (folder / "wrong.json").write_text(json.dumps(wrong))
    for name in ("bent", "wrong"):
        (folder / f"{name}.json").chmod(0o600)
        failing[name] = ("--genesis", "genesis.json", "--key", f"{name}.json", "--log-level", "debug")
    ended = {name: by_hand.begin("fedcoin-miner", *more, name=f"fails-{name}") for name, more in failing.items()}
    for name, running in ended.items():
        assert running.process.wait(120) != 0, name
        assert "error [" in running.text(), name
        assert "Traceback" not in running.text(), name
    miner.kill()
    again = by_hand.start("fedcoin-miner", *words, "--data", "data", name="again")
    assert again.terminate() == 0
    written = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]
    logs = sorted(folder.glob("*.log"))
    assert len(logs) >= 2 + len(failing)
    assert len(written) > 3
    assert b"DEBUG" in miner.log.read_bytes()
    said = {path.name: path.read_bytes() for path in (*logs, *written)}
    said["answers to a caller"] = rude.stdout + rude.stderr
    for name, data in said.items():
        for shape in (*shapes(SECRET), PASSPHRASE.encode()):
            assert shape not in data, (name, shape)
    assert b"Traceback" not in rude.stdout
    assert str(folder).encode() not in rude.stdout, "nor does a peer learn of our files"
