"""A bill as people and programs read it: who was paid what, and why."""

from __future__ import annotations

from typing import Any

from fedcoin.cli.amounts import format_amount, format_fdc
from fedcoin.cli.output import console, format_time, make_table, plain
from fedcoin.core.keys import format_address
from fedcoin.node.bill import Bill


def bill_to_json(bill: Bill, model: str | None) -> dict[str, Any]:
    """The bill as plain values; amounts in units. `model`: the file that the model was written to."""
    told: dict[str, Any] = plain(bill)
    for shown, item in zip(told["rounds"], bill.rounds, strict=True):
        for client, source in zip(shown["clients"], item.clients, strict=True):
            client["why"] = source.formula(item.prices.train)
    return {
        **told,
        "totals": {
            "clients": bill.clients_total,
            "server": bill.server_total,
            "winners": bill.winners_total,
            "returned": bill.returned_total,
            "in_escrow": bill.in_escrow,
            "deposit": bill.order.amount,
        },
        "model_file": model,
    }


def print_bill(bill: Bill) -> None:
    """The bill as tables."""
    screen = console()
    for item in bill.rounds:
        rows: list[tuple[object, ...]] = [
            (
                f"client {format_address(client.address)}",
                f"{client.shapley:+.6f}",
                format_fdc(client.amount),
                client.formula(item.prices.train),
            )
            for client in item.clients
        ]
        rows += [
            (f"block winner {format_address(item.winner)}", "", format_fdc(item.sap_paid), "SapPrice"),
            (f"FL server {format_address(bill.order.server)}", "", format_fdc(item.com_paid), "ComPrice"),
        ]
        if item.returned:
            rows.append(("requester", "", format_fdc(item.returned), "TrainPrice: nobody's S̄ is positive"))
        screen.print(
            make_table(
                ("paid to", ">S̄", ">FDC", "why (in units)"),
                rows,
                f"Round {item.round + 1}: block {item.height}, {format_time(item.timestamp)}, "
                f"TrainPrice {format_amount(item.prices.train)}, averaged over {item.averaged_time} iterations",
            )
        )
    for refund in bill.refunds:
        screen.print(f"refunded after expiry: {format_amount(refund.amount)}")
    screen.print(
        f"deposit {format_amount(bill.order.amount)} = clients {format_fdc(bill.clients_total)} + server "
        f"{format_fdc(bill.server_total)} + winners {format_fdc(bill.winners_total)} + returned "
        f"{format_fdc(bill.returned_total)} + in escrow {format_fdc(bill.in_escrow)}"
    )
