"""What goes wrong in a real network: processes killed at bad moments, and input that breaks a rule.

One network of real processes serves all tests. Whatever happens, an order is settled once, no unit is lost or paid
twice, and all nodes come to agree.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError
from fedcoin.core.genesis import Allocation
from fedcoin.core.keys import format_address
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.transaction import PaymentKind, Transaction, Transfer, sign_transaction
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.node.genesis_file import make_genesis, write_genesis
from fedcoin.rpc.server_client import ServerClient
from fedcoin.rpc.views import OrderState
from tests.support.town import BUDGET, FEE, KEYS, Town, build_town, free_address, terms

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def town(programs: Any) -> Iterator[Town]:
    built = build_town(programs)
    yield built
    for running in built.running.values():
        assert "Traceback" not in running.text()


@pytest.fixture(autouse=True)
def nothing_is_lost(town: Town, until: Callable[..., Any]) -> Iterator[None]:
    """After each test: all miners agree, the money is all there, and every round of every order was settled once."""
    yield
    for running in town.running.values():
        if running.process.poll() is None:
            running.resume()  # where a test has failed, it may still be paused
    until(lambda: len(town.standings()) == 1, 60, lambda: str(town.standings()))
    town.check_money()


def finish(town: Town, order_id: bytes, until: Callable[..., Any]) -> list[Block]:
    """Waits for the order's end; returns the TASK blocks that have settled it."""

    def ended() -> bool:
        return town.miner("m0", lambda client: client.order(order_id)).state is OrderState.FINISHED

    until(ended, 60, town.running["server"].text)
    until(lambda: len(town.standings()) == 1, 60, lambda: str(town.standings()))
    assert town.miner("m1", lambda client: client.order(order_id)).escrow == 0
    blocks = [block for block in town.blocks() if block.task is not None and block.task.order == order_id]
    out_of_escrow = (p.amount for block in blocks for p in block.payments if p.kind is not PaymentKind.CLIENT)
    assert sum(out_of_escrow) == BUDGET * UNITS_PER_FDC
    return blocks


def contributors(block: Block) -> set[bytes]:
    assert block.task is not None
    return {contributor.address for contributor in block.task.contributors}


def all_there(town: Town, until: Callable[..., Any]) -> int:
    """Waits until the server knows all three clients; returns `rounds`."""
    until(lambda: town.clients() == 3, 60, town.running["server"].text)
    return rounds(town)


def rounds(town: Town) -> int:
    """How many rounds have begun with all three clients."""
    return int(town.running["server"].text().count("round 0: 3 clients"))


def test_a_client_that_vanishes_in_mid_round_does_not_hold_up_the_others(town: Town, until: Callable[..., Any]) -> None:
    client, before = town.running["client"], all_there(town, until)
    # Paused, it stays selected but cannot hand in before it is killed.
    client.pause()
    request = town.request("vanishing")
    until(lambda: rounds(town) > before, 60, request.text)
    client.kill()
    assert request.process.wait(90) == 0, request.text()
    town.launch("client")
    assert (town.folder / "vanishing.safetensors").stat().st_size > 1_000
    order_id = bytes.fromhex(request.text().partition("deposit sent, order ")[2].split()[0])
    (block,) = finish(town, order_id, until)
    assert contributors(block) == {KEYS["c0"].address, KEYS["c1"].address}
    town.ready("client")


def test_a_server_killed_while_clients_train_and_while_miners_mine_finishes_the_order(
    town: Town, until: Callable[..., Any]
) -> None:
    clients, before = town.running["clients"], all_there(town, until)
    updates = clients.text().count("update for round 0")
    town.running["client"].pause()
    order_id = town.buy()
    until(lambda: rounds(town) > before, 60, town.running["server"].text)
    # Two updates have been taken, the third is missing.
    until(lambda: clients.text().count("update for round 0") == updates + 2, 60, clients.text)
    town.pause_two(until)
    town.restart("server")
    town.running["client"].resume()
    until(lambda: town.racing("m0"), 60, town.running["server"].text)
    town.restart("server")
    town.resume_two()
    (block,) = finish(town, order_id, until)
    assert {KEYS["c0"].address, KEYS["c1"].address} <= contributors(block), "what was handed in before is not lost"


def test_a_miner_killed_in_mid_race_comes_back_and_agrees(town: Town, until: Callable[..., Any]) -> None:
    begun = all_there(town, until)
    town.running["client"].pause()
    order_id = town.buy()
    until(lambda: rounds(town) > begun, 60, town.running["server"].text)
    town.pause_two(until)
    town.running["client"].resume()
    until(lambda: town.racing("m0"), 60, town.running["m0"].text)
    before = town.miner("m0", lambda client: client.status())
    mined = town.miner("m0", lambda client: client.mining())
    town.restart("m0")
    until(lambda: "stored iterations" in town.running["m0"].text(), 60, town.running["m0"].text)
    assert town.miner("m0", lambda client: client.mining()).iterations >= mined.iterations
    after = town.miner("m0", lambda client: client.status())
    assert (after.tip, after.state_root) == (before.tip, before.state_root)
    town.resume_two()
    finish(town, order_id, until)


def test_a_miner_whose_disk_is_full_ends_and_goes_on_when_there_is_space(town: Town, until: Callable[..., Any]) -> None:
    miner = town.running["m2"]
    # A limit on the size of files does what a full disk does. The log starts anew, so that the reason fits in.
    os.truncate(miner.log, 0)
    resource.prlimit(miner.process.pid, resource.RLIMIT_FSIZE, (4_096, 4_096))
    nonce = town.miner("m0", lambda client: client.account(KEYS["requester"].address)).pending_nonce
    for number in range(20):
        town.miner("m0", lambda client, n=nonce + number: client.submit(pay(town, n)))  # type: ignore[misc]
    assert miner.process.wait(60) == 1, miner.text()
    assert "error [STORE_UNAVAILABLE]" in miner.text()
    assert "Traceback" not in miner.text()
    town.launch("m2")
    town.ready("m2")
    until(lambda: town.miner("m2", lambda client: client.account(KEYS["requester"].address)).nonce > nonce, 60)


def pay(town: Town, nonce: int, amount: int = 1, key: str = "requester", fee: int = FEE) -> Transaction:
    return sign_transaction(KEYS[key], town.chain_id, nonce, fee, Transfer(KEYS["poor"].address, amount))


def code_of(town: Town, transaction: Transaction) -> str:
    """The code with which m0 refuses a transaction; empty if it takes it."""
    try:
        town.miner("m0", lambda client: client.submit(transaction))
    except FedCoinError as error:
        return error.code
    return ""


def test_double_spends_and_wrong_nonces_are_refused_everywhere(town: Town, until: Callable[..., Any]) -> None:
    account = town.miner("m0", lambda client: client.account(KEYS["requester"].address))
    nonce, balance = account.pending_nonce, account.balance
    assert code_of(town, pay(town, nonce + 100)) == "NONCE_TOO_HIGH"
    assert code_of(town, pay(town, nonce, balance)) == "INSUFFICIENT_FUNDS"
    assert code_of(town, pay(town, nonce, fee=FEE - 1)) == "FEE_TOO_LOW"
    # Behind a gap it waits, so that the double spend meets it there.
    first = pay(town, nonce + 1, 1_000)
    assert code_of(town, first) == ""
    assert code_of(town, pay(town, nonce + 1, 2_000)) == "REPLACEMENT_FEE_TOO_LOW"
    assert code_of(town, pay(town, nonce, balance - 1_000)) == "INSUFFICIENT_FUNDS"
    assert code_of(town, pay(town, nonce)) == ""
    until(lambda: town.miner("m1", lambda client: client.account(KEYS["requester"].address)).nonce == nonce + 2, 60)
    until(lambda: len(town.standings()) == 1, 60)
    assert code_of(town, first) == "", "the same once more is no double spend"
    assert code_of(town, pay(town, nonce + 1, 2_000, fee=10 * FEE)) == "NONCE_USED"
    forged = Transaction(first.sender, nonce + 2, FEE, first.body, first.signature)
    assert code_of(town, forged) == "INVALID_SIGNATURE"


def test_orders_that_cannot_be_are_refused_with_a_sentence(town: Town) -> None:
    poor = format_address(KEYS["poor"].address)
    refusals = [
        (town.request("unfunded", **{"--key": "poor.json"}), "INSUFFICIENT_FUNDS"),
        (town.request("nobody", **{"--server": free_address()}), "PEER_UNREACHABLE"),
        (town.request("a-miner", **{"--server": town.addresses["m0"]}), "WRONG_ROLE"),
        (town.request("pennies", **{"--budget": "1 units", "--rounds": 3}), "ORDER_AMOUNT_TOO_SMALL"),
    ]
    for request, code in refusals:
        assert request.process.wait(60) == 1, request.text()
        assert f"error [{code}]" in request.text()
        assert "Traceback" not in request.text()
    # The chain itself refuses an order without money, whoever signs it.
    order, _ = terms("server")
    account = town.miner("m0", lambda client: client.account(KEYS["poor"].address))
    unfunded = sign_transaction(KEYS["poor"], town.chain_id, account.pending_nonce, FEE, order)
    assert code_of(town, unfunded) == "INSUFFICIENT_FUNDS"
    too_much = town.programs.tool("send", poor, "5000", "--key", "poor.json", "--node", town.addresses["m0"], ok=False)
    assert (too_much.returncode, "error [INSUFFICIENT_FUNDS]" in too_much.stderr) == (1, True)

    async def offer_to_another() -> None:
        async with ServerClient(town.addresses["server"]) as client:
            await client.offer_order(terms("m0")[0])

    with pytest.raises(FedCoinError) as caught:
        asyncio.run(offer_to_another())
    assert caught.value.code == "ORDER_REFUSED"


def test_a_wrong_genesis_and_a_folder_in_use_stop_a_role_with_a_sentence(town: Town) -> None:
    other = make_genesis(
        DEFAULT_PARAMS, [Allocation(KEYS["poor"].address, 1)], [KEYS[name].public_key for name in ("m0", "m1")], 1
    )
    if not (town.folder / "other.json").exists():
        write_genesis(town.folder / "other.json", other)
    begin = town.programs.begin
    nowhere = ("--listen", "127.0.0.1:0")
    miners = ("--miner", town.addresses["m0"])
    cases = [
        (begin("fedcoin-miner", *town.words("m2")[1:], *nowhere, name="second-miner"), "DATA_FOLDER_IN_USE"),
        (begin("fedcoin-server", *town.words("server")[1:], *nowhere, name="second-server"), "DATA_FOLDER_IN_USE"),
        (
            begin(
                *("fedcoin-miner", "--genesis", "other.json", "--key", "m2.json", "--data", "server-data", *nowhere),
                name="stray-miner",
            ),
            "DATA_FOLDER_IN_USE",
        ),
        (town.request("stray", **{"--genesis": "other.json"}), "CONFIG_INVALID"),
        (
            begin(
                *("fedcoin-miner", "--genesis", "server.json", "--key", "m2.json", "--data", "new-data", *nowhere),
                name="no-genesis",
            ),
            "MALFORMED_GENESIS",
        ),
        (
            begin(
                *("fedcoin-client", "--genesis", "genesis.json", "--key", "c0.json", *miners, *nowhere),
                *("--server", town.addresses["server"], "--dataset", "nowhere.npz"),
                name="no-data",
            ),
            "DATASET_NOT_FOUND",
        ),
    ]
    for running, code in cases:
        assert running.process.wait(60) == 1, running.text()
        assert f"error [{code}]" in running.text()
        assert "Traceback" not in running.text()


def test_a_miner_of_another_genesis_is_told_by_its_peer_and_stays_alone(town: Town, until: Callable[..., Any]) -> None:
    if not (town.folder / "stranger.json").exists():
        made = make_genesis(
            DEFAULT_PARAMS, [Allocation(KEYS["poor"].address, 2)], [KEYS[name].public_key for name in ("m0", "m1")], 2
        )
        write_genesis(town.folder / "stranger.json", made)
    stranger = town.programs.start(
        *("fedcoin-miner", "--genesis", "stranger.json", "--key", "poor.json", "--data", "stranger-data"),
        *("--peer", town.addresses["m0"], "--device", "cpu", "--threads", 1),
        name="stranger",
    )
    until(lambda: "[WRONG_GENESIS]" in stranger.text(), 30, stranger.text)
    assert town.addresses["m0"] in stranger.text()
    assert stranger.terminate() == 0
