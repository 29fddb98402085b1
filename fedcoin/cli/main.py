"""`fedcoin`: the user tool."""

from __future__ import annotations

import click

from fedcoin.cli.audit import audit
from fedcoin.cli.chain import block, chain, order, orders, peers, task
from fedcoin.cli.genesis import genesis
from fedcoin.cli.localnet import localnet
from fedcoin.cli.program import Group, common_options, name_environment
from fedcoin.cli.registry import frauds, miners
from fedcoin.cli.request import request
from fedcoin.cli.roles import SETTINGS
from fedcoin.cli.wallet import balance, history, keys, leave, register_miner, send, tx

_EPILOG = """
Every option can also stand in the --config file (a table for each command: [balance] node = "host:7070") or in the
environment (FEDCOIN_BALANCE_LIMIT and so on; FEDCOIN_NODE, FEDCOIN_KEY and FEDCOIN_PASSPHRASE for all commands).
Amounts are in FDC, with up to eight decimals.
"""


@click.group(cls=Group, context_settings=SETTINGS, epilog=_EPILOG)
@common_options
def main() -> None:
    """FedCoin: pay for federated learning, and see who was paid what and why.

    Keys and payments, orders for models, the chain and its blocks, audits of payouts, whole networks on one machine.
    """


for _command in (
    keys,
    balance,
    send,
    history,
    tx,
    request,
    orders,
    order,
    chain,
    block,
    task,
    peers,
    miners,
    frauds,
    audit,
    register_miner,
    leave,
    genesis,
    localnet,
):
    main.add_command(_command)

name_environment(main, "FEDCOIN")

if __name__ == "__main__":
    main()
