"""What a local network shall be."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedcoin.core.errors import ConfigInvalid
from fedcoin.core.genesis import Allocation
from fedcoin.core.keys import ADDRESS_SIZE, PrivateKey
from fedcoin.core.params import UNITS_PER_FDC, UTILITY_SCALE
from fedcoin.core.task import Sampler
from fedcoin.ledger.transactions import verify_order_terms
from fedcoin.node.chain_defaults import DEFAULT_PARAMS, DEFAULT_SAMPLER
from fedcoin.node.data_shares import ShareFacts, ShareRule, describe_shares
from fedcoin.node.genesis_file import GenesisFile, make_genesis
from fedcoin.node.network_report import ClientFacts
from fedcoin.node.order_form import OrderForm, fill_in

POCKET_MONEY = 100 * UNITS_PER_FDC
"""Units that the requester has beyond its budget, for fees."""


@dataclass(frozen=True)
class LocalnetPlan:
    """Sizes and settings of a local network."""

    miners: int = 3
    clients: int = 10
    client_processes: int = 1
    """Clients share processes, because each one with torch in it takes some 400 MB."""
    types: int = 10
    """Client types T0 to T(types−1)."""
    samples: int | None = None
    """Of each client; None: as many as all can have without sharing any."""
    rounds: int = 2
    dataset: str = "digits"
    data_root: Path | None = None
    model: str = "mlp-32"
    budget: int = 1000 * UNITS_PER_FDC
    """V in units."""
    difficulty: int = 3 * UTILITY_SCALE // 1000
    """D of the first TASK block, times UTILITY_SCALE."""
    target_interval_ms: int = 15_000
    """τ of the difficulty rule."""
    iterations: int = 20
    """Passes over its data that a client trains in a round."""
    batch_size: int = 32
    learning_rate: float = 0.3
    utility: str = "accuracy"
    sampler: str = DEFAULT_SAMPLER.name.lower()
    """Of the order, and of the genesis problem."""
    evaluation_samples: int = 0
    """Test samples that measure a model; 0: all."""
    seed: int = 0
    device: str = "auto"
    threads: int = 1
    """CPU threads of each process that learns."""
    expires_minutes: int = 120
    verify: bool = False
    """Audit every TASK block at the end."""

    def check(self) -> None:
        """Raises ConfigInvalid, naming the setting."""
        if self.miners < 2:
            raise ConfigInvalid("miners: at least 2 are needed, because the winner's S is compared with that of others")
        if not 1 <= self.client_processes <= self.clients:
            raise ConfigInvalid("client_processes: at least 1, and not more than there are clients")

    @property
    def share_rule(self) -> ShareRule:
        """How the data set is divided among the clients."""
        return ShareRule(self.dataset, self.data_root, self.clients, self.types, self.samples, self.seed)

    def shares(self) -> list[ShareFacts]:
        """Quality of every client's data. Raises as describe_shares."""
        return describe_shares(self.share_rule)

    def check_order(self) -> None:
        """Fills in the order as the requester will, so that terms it would be refused for show before anything runs.

        Raises as fill_in and verify_order_terms.
        """
        form = OrderForm(
            amount=self.budget,
            rounds=self.rounds,
            dataset=self.dataset,
            data_root=self.data_root,
            model=self.model,
            sampler=Sampler[self.sampler.upper()],
            min_clients=self.clients,
            evaluation_samples=self.evaluation_samples,
        )
        order, _ = fill_in(form, bytes(ADDRESS_SIZE), expiry=0)
        verify_order_terms(order)

    def genesis(self, requester: bytes, miners: Sequence[bytes], timestamp: int) -> GenesisFile:
        """The network's beginning. `requester`: address; `miners`: public keys; `timestamp`: ms since 1970."""
        params = replace(
            DEFAULT_PARAMS,
            name="localnet",
            initial_difficulty=self.difficulty,
            min_difficulty=min(DEFAULT_PARAMS.min_difficulty, self.difficulty),
            max_difficulty=max(DEFAULT_PARAMS.max_difficulty, self.difficulty),
            target_interval_ms=self.target_interval_ms,
            audit_interval_ms=1_000,
        )
        allocations = [Allocation(requester, self.budget + POCKET_MONEY)]
        return make_genesis(params, allocations, miners, timestamp, Sampler[self.sampler.upper()])

    def client_groups(self) -> list[tuple[int, int]]:
        """(first client, number of clients) of each client process."""
        bounds = [self.clients * number // self.client_processes for number in range(self.client_processes + 1)]
        return [(first, end - first) for first, end in itertools.pairwise(bounds)]

    def data_flags(self) -> list[str]:
        """The client program's flags for its data."""
        flags = ["--dataset", self.dataset, "--shares", str(self.clients), "--types", str(self.types)]
        flags += ["--seed", str(self.seed)]
        flags += ["--data-root", str(self.data_root)] if self.data_root is not None else []
        flags += ["--samples", str(self.samples)] if self.samples is not None else []
        return flags


def client_facts(shares: list[ShareFacts], keys: Mapping[str, PrivateKey]) -> list[ClientFacts]:
    """Each client's address with the quality of its data; its key is called client-<index>."""
    return [
        ClientFacts(keys[f"client-{share.index}"].address, share.index, share.type, share.samples, share.emd)
        for share in shares
    ]
