"""Accounts, bonds, orders, settlement, transaction rules, fraud cases, mempool and fork choice. No I/O, no clock."""
