"""Accounts, orders, settlement, transaction rules, mempool and fork choice. No I/O, no clock."""
