"""What has happened on a chain, told from its blocks: who won, who was paid and why, and whether the money adds up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fedcoin.core.block import Block
from fedcoin.core.errors import MoneyDoesNotAddUp
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import address_of, format_address
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.transaction import SETTLEMENT_KINDS, PaymentKind, escrow_address
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.views import AccountInfo
from fedcoin.shapley.distance import distance

PAGE = 500
_OUT_OF_ESCROW = (SETTLEMENT_KINDS | {PaymentKind.REFUND}) - {PaymentKind.CLIENT}


@dataclass(frozen=True)
class BlockRow:
    """One block. Distances and difficulties in units of utility, amounts in units of money."""

    height: int
    hash: str
    kind: str
    """task or audit."""
    winner: str
    """Address."""
    distance: float
    """‖S − S̄‖ of the winner."""
    difficulty: float
    """D."""
    time: int
    """Iterations that the winner had done."""
    transactions: int
    payments: int
    paid: int
    """Units that left escrows."""
    timestamp: int
    """Milliseconds since 1970."""


@dataclass(frozen=True)
class ClientRow:
    """One client of the network."""

    address: str
    index: int
    type: str
    """T0 (samples of all classes) to T9 (of one)."""
    samples: int
    emd: float
    """Distance of its labels' distribution from the whole data set's (§6.2)."""
    shapley: float | None
    """Mean of S̄ over the rounds it took part in; None if in none."""
    paid: int
    """Units."""


@dataclass(frozen=True)
class AccountRow:
    """One account at the tip."""

    address: str
    role: str
    balance: int
    """Units."""


@dataclass(frozen=True)
class NodeRow:
    """Where one miner stands at the end."""

    name: str
    address: str
    """HOST:PORT."""
    height: int
    tip: str
    state_root: str


@dataclass(frozen=True)
class ClientFacts:
    """What is known of a client before anything runs."""

    address: bytes
    index: int
    type: int
    samples: int
    emd: float


@dataclass(frozen=True)
class NetworkReport:
    """Everything that `fedcoin localnet` reports."""

    network: str
    chain_id: str
    settings: dict[str, Any]
    blocks: tuple[BlockRow, ...]
    clients: tuple[ClientRow, ...]
    accounts: tuple[AccountRow, ...]
    nodes: tuple[NodeRow, ...]
    audits: tuple[dict[str, Any], ...]
    supply_genesis: int
    supply_now: int
    model_accuracy: tuple[float, ...]
    """Of the aggregated model after each round."""
    wall_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; amounts in units."""
        return asdict(self)

    def check(self) -> None:
        """Raises MoneyDoesNotAddUp unless all balances sum to what the genesis gave out, and every audit holds."""
        if self.supply_now != self.supply_genesis:
            raise MoneyDoesNotAddUp(
                f"the accounts hold {self.supply_now} units, the genesis gave out {self.supply_genesis}"
            )
        for audit in self.audits:
            if not audit["holds"]:
                raise MoneyDoesNotAddUp(f"the payout of block {audit['height']} does not hold: {audit['reasons']}")


async def read_blocks(node: MinerHandler) -> list[Block]:
    """All blocks of the node's chain after the genesis."""
    height = (await node.status()).height
    return [await node.block(None, number) for number in range(1, height + 1)]


async def read_accounts(node: MinerHandler) -> list[AccountInfo]:
    """All accounts of the node's tip, in order of address."""
    accounts: list[AccountInfo] = []
    after = b""
    while page := await node.accounts(after, PAGE):
        accounts += page
        after = page[-1].address
    return accounts


def supply_of(genesis: Genesis) -> int:
    """Units that the genesis gives out; there are never more or fewer."""
    return sum(allocation.amount for allocation in genesis.allocations)


def block_row(block: Block, norm: int) -> BlockRow:
    """What a block says."""
    header = block.header
    return BlockRow(
        header.height,
        block.id().hex(),
        header.kind.name.lower(),
        format_address(address_of(header.winner)),
        distance(header.winner_total, header.winner_time, header.averaged_total, header.averaged_time, norm),
        header.difficulty / UTILITY_SCALE,
        header.winner_time,
        len(block.transactions),
        len(block.payments),
        sum(payment.amount for payment in block.payments if payment.kind in _OUT_OF_ESCROW),
        header.timestamp,
    )


def client_rows(clients: Iterable[ClientFacts], blocks: Sequence[Block]) -> tuple[ClientRow, ...]:
    """What the clients were found to be worth, and were paid."""
    values: dict[bytes, list[float]] = {}
    paid: dict[bytes, int] = {}
    for block in blocks:
        if block.task is None:
            continue
        header = block.header
        for contributor, total in zip(block.task.contributors, header.averaged_total, strict=True):
            value = total / (header.averaged_time * UTILITY_SCALE)
            values.setdefault(contributor.address, []).append(value)
        for payment in block.payments:
            if payment.kind is PaymentKind.CLIENT:
                paid[payment.payee] = paid.get(payment.payee, 0) + payment.amount
    return tuple(
        ClientRow(
            format_address(client.address),
            client.index,
            f"T{client.type}",
            client.samples,
            client.emd,
            sum(found) / len(found) if (found := values.get(client.address)) else None,
            paid.get(client.address, 0),
        )
        for client in clients
    )


def account_rows(
    accounts: Iterable[AccountInfo], roles: Mapping[bytes, str], blocks: Sequence[Block]
) -> tuple[AccountRow, ...]:
    """Every account with its role, roles in order."""
    known = dict(roles)
    for block in blocks:
        if block.task is not None:
            known[escrow_address(block.task.order)] = "escrow"
    rows = [
        AccountRow(format_address(account.address), known.get(account.address, "other"), account.balance)
        for account in accounts
    ]
    order = {role: place for place, role in enumerate(dict.fromkeys(known.values()))}
    return tuple(sorted(rows, key=lambda row: (order.get(row.role, len(order)), row.address)))
