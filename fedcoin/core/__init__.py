"""Values of the protocol: encodings, keys, Merkle trees, transactions, tasks, estimates, blocks.

Nothing here does I/O, reads a clock or draws randomness.
"""
