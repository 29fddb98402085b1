"""Whether a peer is one of ours, and the miner that it says it is."""

from __future__ import annotations

import os

from fedcoin.core.errors import WrongGenesis
from fedcoin.node.auth import Presence, verify_presence
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.views import NONCE_SIZE, NodeStatus


def check_status(address: str, status: NodeStatus, chain_id: bytes, own_key: bytes) -> None:
    """Raises WrongGenesis unless this is another miner of our network."""
    if status.chain_id != chain_id:
        raise WrongGenesis(
            f"{address} belongs to another network ({status.network}, chain {status.chain_id.hex()[:16]}…); "
            "remove it from the peers, or use the same genesis file"
        )
    if status.public_key == own_key:
        raise WrongGenesis(f"{address} is this node itself; remove it from the peers")


async def proves_key(client: MinerHandler, address: str, public_key: bytes, chain_id: bytes) -> bool:
    """Whether the peer that we have called at `address` holds the key that it names.

    False for one that says it is reached elsewhere: it may be a stranger that hands our nonce on to the real one.
    Raises InvalidSignature, InvalidPublicKey, or whatever the call raises.
    """
    nonce = os.urandom(NONCE_SIZE)
    said, signature = await client.prove(nonce)
    verify_presence(public_key, chain_id, Presence(nonce, said), signature)
    return said == address
